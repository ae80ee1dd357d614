"""The one entry point: run a command, and turn what goes wrong into a message and an exit code."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from flowercli.cli.commands import ABOUT, HELP
from flowercli.cli.startup import open_ahead, prepare_help, uncollected
from flowercli.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, FlowersError
from flowercli.home import settle_home

if TYPE_CHECKING:
    from typer import Typer

COMPLETION_VARIABLE = "_FLOWERS_COMPLETE"
# With these first arguments, or none where a shell completes, all that was started has ended. Other commands have
# libraries that may have something to do when Python ends.
ENDED_AT_ONCE = frozenset({None, "classify", "serve", *ABOUT})
DEBUG_VARIABLE = "FLOWERS_DEBUG"
OS_ERROR_HINTS = {
    errno.ENOSPC: "Free some space and run the command again.",
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EROFS: "Choose a folder that is not read-only.",
    errno.EDQUOT: "Free some of your quota and run the command again.",
}
OTHER_HINT = f"Where it happened: {DEBUG_VARIABLE}=1 flowers …"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``flowers`` with these arguments (``sys.argv`` by default) and return its exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        ahead = open_ahead(arguments)
        # Of its own sys.argv, the application expands the globs where no shell does.
        _load(arguments)(args=None if argv is None else arguments, prog_name="flowers", obj=ahead)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_OK if stop.code is None else EXIT_FAILED
    except KeyboardInterrupt:  # While something loads. Without a word, as Typer does it when a command runs.
        return EXIT_INTERRUPTED
    except FlowersError as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _tell(error.message, error.hint)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does. Python would complain about it once
        # more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        what = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        _tell(f"{what}{error.strerror or error}.", OS_ERROR_HINTS.get(error.errno or 0, OTHER_HINT))
        return EXIT_FAILED
    return EXIT_OK


def _load(arguments: Sequence[str]) -> Typer:
    """Load as much of the application as these arguments need."""
    with uncollected():
        from flowercli.cli.app import build

        first = _first(arguments)
        if not {first, *arguments}.isdisjoint(HELP):
            prepare_help()
        return build(first)


def _first(arguments: Sequence[str]) -> str | None:
    """Return the argument that says what to load. Without any, help is shown; a shell that completes wants all."""
    if arguments:
        return arguments[0]
    return None if COMPLETION_VARIABLE in os.environ else HELP[0]


def run() -> None:
    """Be the console script."""
    from flowercli.cli.output import encode_all, mend_streams

    # Python processes that this one starts take no module from the working folder, whoever put it there.
    os.environ["PYTHONSAFEPATH"] = "1"
    codes: list[int] = []
    atexit.register(_end_at_once, codes)  # Registered first, it is called last.
    mend_streams()
    settle_home()
    encode_all()
    code = main()
    if _first(sys.argv[1:]) in ENDED_AT_ONCE:
        codes.append(code)
        if code == EXIT_INTERRUPTED:  # Python would first wait for threads, one of which may wait for a server.
            _end_at_once(codes)
    gc.freeze()  # As Python ends, it looks through every object for cycles, for nothing.
    sys.exit(code)


def _end_at_once(codes: Sequence[int]) -> None:
    """Leave to the system what Python would take apart piece by piece: a fifteenth of the time of one picture."""
    if codes:
        with suppress(OSError):  # What cannot be written, Python tells.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(codes[0])


def _tell(message: str, hint: str | None) -> None:
    from flowercli.cli.output import tell_error

    tell_error(message, hint)
