"""Open the model that ships on a thread of its own while the command line's library is loaded and reads the line."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from flowercli.cli.loading import keep_numpy_to_one_thread, uncollected

if TYPE_CHECKING:
    from collections.abc import Sequence

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
