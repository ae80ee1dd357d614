"""Import onnxruntime without what it writes to stderr by itself."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# As it is loaded it looks for devices, and warns of graphics cards that are none (WSL, virtual machines, Raspberry Pi).
CHATTER = re.compile(rb"\[[VIW]:onnxruntime:")
NOTHING = 4


def import_onnxruntime() -> Any:
    """Import onnxruntime and return it; whatever goes wrong is raised, and no more of it logged."""
    if "onnxruntime" in sys.modules:
        return sys.modules["onnxruntime"]
    with kept_from_stderr(CHATTER):
        onnxruntime = importlib.import_module("onnxruntime")
    if hasattr(onnxruntime, "set_default_logger_severity"):  # Not where it is there in part only.
        onnxruntime.set_default_logger_severity(NOTHING)
    return onnxruntime


@contextmanager
def kept_from_stderr(chatter: re.Pattern[bytes]) -> Iterator[None]:
    """Keep lines of a library in C++ from stderr; what others write there meanwhile follows at the end of the block."""
    try:
        stderr, held = os.dup(2), os.memfd_create("stderr")
    except (OSError, AttributeError):  # No stderr; no Linux.
        yield
        return
    os.dup2(held, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        with os.fdopen(held, "rb") as lines:
            lines.seek(0)
            others = b"".join(line for line in lines if not chatter.search(line))
        with suppress(OSError):  # One that is full or closed stops nothing.
            os.write(2, others)
