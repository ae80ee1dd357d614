"""What asks a long command to end, and the command that goes on."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# ``-o`` with its value, or behind the one short option that takes none.
JOINED = re.compile(r"-(v*)o(.*)", re.DOTALL)


@contextmanager
def by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which job schedulers send, do what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def later() -> Iterator[None]:
    """Let Ctrl-C, and SIGTERM, come when the block is over: what it does is done, or not, and known to be.

    Raises:
        KeyboardInterrupt: one of them came meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def typed() -> str:
    """Return the command that is running, as it may be typed again."""
    return shlex.join(["flowers", *sys.argv[1:]])


def typed_with(options: tuple[str, ...], option: str, value: str) -> str:
    """Return the command that is running with another option in place of any of ``options``, behind its other ones."""
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    kept: list[str] = []
    before = iter(words[:end])
    for word in before:
        name, is_whole, _ = word.partition("=")
        joined = JOINED.fullmatch(word) if "-o" in options else None
        if word in options:
            next(before, None)
        elif joined:
            kept += [f"-{joined[1]}"] if joined[1] else []
            if not joined[2]:
                next(before, None)
        elif not (is_whole and name in options):
            kept.append(word)
    return shlex.join(["flowers", *kept, option, value, *words[end:]])
