"""The program, and Python, in processes that are forked where torch is loaded already: each starts ten seconds sooner.

Run as a program, this is the process that they are forked from: it listens on a socket and loads what training and
exporting import when it is first asked. A process of the program gets the caller's streams, environment and working
folder, and is a child of one that waits for it and tells its exit code. What is tested of how the program starts, and
of what its libraries say then, starts it as users do.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ADDRESS_VARIABLE = "FLOWERS_TEST_FORKS"
COMMANDS = frozenset({"average", "eval", "export", "train"})
MOST_BYTES = 2**18
# What else the program imports when it trains, exports or records, and pytest when it reads the tests.
ALSO = (
    "cleanlab.filter", "dvc.repo", "hypothesis.strategies", "matplotlib.pyplot", "onnx.reference",
    "onnxruntime.quantization", "onnxscript.function_libs.torch_lib.ops", "pandas", "pyarrow.parquet",
    "sklearn.linear_model", "torch._inductor.compile_fx", "torch.onnx._internal.exporter._core",
)  # fmt: skip


@contextlib.contextmanager
def forking():
    """Start the process that all workers' processes are forked from, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[ADDRESS_VARIABLE] = f"{folder}/forks"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(os.environ[ADDRESS_VARIABLE])
            listener.listen()
            number = listener.fileno()
            # Warnings are errors there too.
            command = [sys.executable, "-W", "error", __file__, "--serve", str(number)]
            process = subprocess.Popen(command, pass_fds=[number], start_new_session=True)
        yield
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        del os.environ[ADDRESS_VARIABLE]


def can_fork(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether it makes no difference: the Hub's client reads its variables once, when it is loaded."""
    of_the_hub = {name for name in environment if name.startswith("HF_")}
    return ADDRESS_VARIABLE in os.environ and arguments[0] in COMMANDS and of_the_hub <= {"HF_HUB_OFFLINE"}


def run_forked(
    arguments: Sequence[str], folder: Path, timeout: float, environment: Mapping[str, str] = os.environ
) -> tuple[int, str, str]:
    """Return the exit code of the program and what it wrote to stdout and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
        streams = [stream.fileno() for stream in (nothing, out, err)]
        with _asking({"arguments": arguments}, streams, folder, environment, timeout) as connection:
            connection.recv(100)
            code = int(connection.recv(100))
        out.seek(0)
        err.seek(0)
        return code, out.read().decode(), err.read().decode()


def forked_program() -> list[str]:
    """Return what, in front of arguments, runs the program so: on the streams, and with the signals, of its caller."""
    forked = ADDRESS_VARIABLE in os.environ
    return [sys.executable, __file__, "--ask"] if forked else [sys.executable, "-W", "error", "-m", "flowercli"]


def forked_python() -> list[str]:
    """Return what runs ``-c CODE …`` so, as Python does; options of Python go behind the first word."""
    return [sys.executable, *([__file__, "--python"] if ADDRESS_VARIABLE in os.environ else [])]


def forked_script(program: str) -> str:
    """Return a shell script for a program: so for the commands that want torch, and as ``program`` for the others."""
    torch = "|".join(sorted(COMMANDS))
    return f'case "$1" in {torch}) exec {shlex.join(forked_program())} "$@";; esac\n{program}'


class Forked:
    """A forked program, the leader of a session, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, arguments: Sequence[str], folder: Path, *warnings: str) -> None:
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        with Path(os.devnull).open("rb") as nothing:
            asked = {"arguments": arguments, "warnings": ["error", *warnings]}
            self._connection = _asking(asked, [nothing.fileno(), to_out, to_err], folder, os.environ, None)
        os.close(to_out)
        os.close(to_err)
        self.stdout, self.stderr = (os.fdopen(number, encoding="utf-8") for number in (out, err))
        self.pid = int(self._connection.recv(100))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while it runs."""
        with contextlib.suppress(TimeoutError, BlockingIOError):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raise ``TimeoutError`` where that takes longer."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            self.returncode = int(self._connection.recv(100))
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read what it writes until whoever holds its streams has ended; return it once it has too."""
        clock = threading.Timer(timeout or threading.TIMEOUT_MAX, os.killpg, (self.pid, signal.SIGKILL))
        clock.start()
        with ThreadPoolExecutor(2) as readers, self.stdout, self.stderr:
            out, err = readers.map(lambda stream: stream.read(), (self.stdout, self.stderr))
        assert not clock.finished.is_set(), f"ended after {timeout} seconds: {err}"
        clock.cancel()
        self.wait(60)
        return out, err


def _asking(
    what: dict, streams: Sequence[int], folder: Path, environment: Mapping[str, str], timeout: float | None
) -> socket.socket:
    """Ask for a process; what comes on the connection is its number, and its exit code."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(timeout)
    connection.connect(os.environ[ADDRESS_VARIABLE])
    asked = {"code": None, "warnings": ["error"], **what, "environment": dict(environment), "folder": str(folder)}
    socket.send_fds(connection, [json.dumps(asked).encode()], streams)
    return connection


def _be(what: dict) -> int:
    """Ask for a process on the streams of this one, pass on what this one is told to do, and return its exit code."""
    with _asking(what, [0, 1, 2], Path.cwd(), os.environ, None) as connection:
        program = int(connection.recv(100))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(program, number))
        return int(connection.recv(100))


def _serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        asked, streams, _, _ = socket.recv_fds(connection, MOST_BYTES, 3)
        _load()
        if os.fork() == 0:
            listener.close()
            _keep(connection, json.loads(asked), streams)
            return
        connection.close()
        for stream in streams:
            os.close(stream)


def _load() -> None:
    for name in ("evaluation.evaluate", "export.graph", "training.known", "whole_run"):
        import_module(f"flowercli.{name}")
    from flowercli.mlflow_quietly import import_mlflow

    import_mlflow()
    for name in ALSO:
        with contextlib.suppress(ModuleNotFoundError):  # It may be of another extra.
            import_module(name)


def _keep(connection: socket.socket, asked: dict, streams: list[int]) -> None:
    """Be the parent of the program, or the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = os.fork()
    if program == 0:
        connection.close()
        _become(streams, **asked)
    for stream in streams:  # Whoever reads them waits for those alone that write.
        os.close(stream)
    with contextlib.suppress(OSError):  # Nobody waits any more.
        connection.send(str(program).encode())
        threading.Thread(target=_end_with_asker, args=(connection, program), daemon=True).start()
        _, status = os.waitpid(program, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _end_with_asker(connection: socket.socket, program: int) -> None:
    """Kill the program when who asked for it is killed."""
    with contextlib.suppress(OSError):
        connection.recv(1)
        os.kill(program, signal.SIGKILL)


def _become(
    streams: list[int],
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    code: str | None,
    warnings: list[str],
) -> NoReturn:
    os.setsid()
    # Where a shell runs the tests in the background, they ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # They stay open until Python has ended, as those that it starts with do.
    sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb", closefd=False))
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8", line_buffering=os.isatty(1))
    errors = os.fdopen(2, "wb", closefd=False)
    sys.stderr = io.TextIOWrapper(errors, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    _warn(warnings)
    if code is None:
        sys.argv = ["flowers", *arguments]
        from flowercli.cli.main import run

        run()
    else:
        sys.argv = ["-c", *arguments]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), main.__dict__)  # noqa: S102
    sys.exit()


def _warn(options: list[str]) -> None:
    """Have these options of ``-W``, as the processes have that are started here."""
    sys.warnoptions[:] = options
    if "error" not in options:
        warnings.simplefilter("default")
    warnings._processoptions([option for option in options if option != "error"])


def _main(how: str, *arguments: str) -> None:
    if how == "--serve":
        signal.signal(signal.SIGCHLD, _reap)
        _serve(socket.socket(fileno=int(arguments[0])))
    elif how == "--ask":
        sys.exit(_be({"arguments": arguments}))
    else:
        place = arguments.index("-c")
        asked = {"code": arguments[place + 1], "arguments": arguments[place + 2 :]}
        sys.exit(_be({**asked, "warnings": sys.warnoptions}))


def _reap(*_told: object) -> None:
    """Wait for all that have ended: what they took counts as this process's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    _main(*sys.argv[1:])
