"""The process in which a TensorRT engine is built.

One of its own: the build takes minutes during which Python gets no word in, writes a log of megabytes, and can be ended
by what goes wrong in a driver. It imports neither torch nor onnx. Not tested on a GPU.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort

from flowercli.errors import ExportError
from flowercli.inference.libraries import TENSORRT
from flowercli.inference.probe import tensorrt_obstacles

Tick = Callable[[float], None]


def build(half: str, options: dict[str, str]) -> None:
    """Build the engine of a graph and write what the options say, with every line of TensorRT's log."""
    next(tensorrt_obstacles(), None)  # Loads the libraries that the provider links.
    ort.set_default_logger_severity(0)
    settings = ort.SessionOptions()
    settings.log_severity_level = 0
    ort.InferenceSession(half, settings, providers=[(TENSORRT, options)], enable_fallback=0)


def run_apart(work: Callable[..., None], arguments: tuple[object, ...], log: Path, tick: Tick) -> None:
    """Run a function in a new process that writes stdout and stderr into ``log``, and wait for it.

    Raises:
        ExportError: it failed; the message has the last line of the log, or the signal that ended it.
    """
    process = multiprocessing.get_context("spawn").Process(target=_logged, args=(work, arguments, str(log)))
    started = time.monotonic()
    process.start()
    try:
        while process.is_alive():
            process.join(1)
            tick(time.monotonic() - started)
    finally:
        # On Ctrl-C, say: the build is of no use then.
        process.kill()
        process.join()
    if process.exitcode:
        raise ExportError(
            f"TensorRT could not build the engine: {_cause(process.exitcode, log)}", hint="flowers doctor"
        )


def _logged(work: Callable[..., None], arguments: tuple[object, ...], log: str) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(target, stream)
    work(*arguments)


def _cause(code: int, log: Path) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}."
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"its process exited with {code}."
