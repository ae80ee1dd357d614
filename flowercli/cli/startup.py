"""What makes a command start sooner: the model opened meanwhile; no search for garbage, no threads or modules unused.

How the help and ``classify`` end at once is in ``flowercli/cli/main.py``.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime as ort

    from flowercli.bundle import Bundle
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.session import Runtime

# What may stand beside the paths. Any other option may name another model or device, or be a mistake.
HARMLESS = frozenset(
    {
        "-",
        "--",
        "--copy-to",
        "--format",
        "--json",
        "--move-to",
        "--only",
        "--output",
        "--resume",
        "--top-k",
        "-k",
        "-o",
        "--verbose",
        "-v",
    }
)
# Python lets a thread wait 5 ms for its turn. This one has a turn to wait for whenever it has read a file, and later
# those that decode pictures and run the graph, whose speed over many pictures stays the same.
TURN_SECONDS = 0.0002
# typer.rich_utils imports a class from each of them. Its help makes a Markdown only where an application asks for
# that markup, its tracebacks only where one leaves them on: this one does neither.
UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}


@contextmanager
def uncollected() -> Iterator[None]:
    """Load what stays until the program ends: Python would look through it for garbage again and again.

    That is a thirtieth of the time in which one picture is answered from cold, and a fifteenth of that of the help.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def keep_numpy_to_one_thread() -> None:
    """Let numpy's BLAS start no threads when it is loaded, unless the user has set how many.

    It starts one a core, and they spin for a tenth of a second. To answer, numpy multiplies one embedding at a time.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class Ahead:
    """The shipped model, being opened: onnxruntime does most of it while Python goes on with something else."""

    def __init__(self) -> None:
        import threading

        self._opened: list[tuple[Bundle, ort.InferenceSession, Runtime]] = []
        sys.setswitchinterval(TURN_SECONDS)
        # Whoever ends the program earlier, by a mistake or Ctrl-C, does not wait for it.
        self._thread = threading.Thread(target=self._open, name="open the model", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        from flowercli.inference.session import open_session
        from flowercli.models import load_model

        # If it cannot be opened, the command tries again, and tells what is wrong.
        with suppress(Exception):
            bundle = load_model(None)
            self._opened.append((bundle, *open_session(bundle)))

    def take(self) -> Classifier | None:
        """Wait until it is open and return it; nothing if it cannot be opened."""
        # Pillow loads what reads a JPEG when it meets the first; meanwhile it costs nothing.
        import PIL.JpegImagePlugin  # noqa: F401

        from flowercli.inference.classifier import Classifier

        self._thread.join()
        return Classifier(*self._opened[0]) if self._opened else None


def open_ahead(arguments: Sequence[str]) -> Ahead | None:
    """Begin to open the shipped model if these arguments ask it about pictures: a tenth less time for a first answer.

    Raises:
        DeviceError: onnxruntime is missing or broken.
    """
    options = {argument for argument in arguments if argument.startswith("-")}
    if arguments[:1] != ["classify"] or arguments[1:] == [] or not options <= HARMLESS:
        return None
    keep_numpy_to_one_thread()
    with uncollected():
        # Here, because an import that Ctrl-C ends belongs to the main thread.
        import flowercli.inference.session
        import flowercli.models  # noqa: F401
    return Ahead()


def prepare_help() -> None:
    """Load what Typer shows help with. Whoever imports the modules left out later on, gets them whole."""
    absent = [name for name in UNUSED if name not in sys.modules]
    for name in absent:
        sys.modules[name] = _stand_in(name, UNUSED[name])
    # A Typer that wants more from them imports them itself when it shows the help.
    with suppress(ImportError):
        import_module("typer.rich_utils")
    for name in absent:
        del sys.modules[name]


def _stand_in(name: str, class_name: str) -> ModuleType:
    module = ModuleType(name)
    setattr(module, class_name, type(class_name, (), {}))
    return module
