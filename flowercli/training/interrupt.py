"""Ctrl-C and SIGTERM during a run: finish the step, save, stop. At once: a second one, and one after the last epoch."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.made = False
        self._at_once = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        """Be the signal handler."""
        if self.made or self._at_once:
            raise KeyboardInterrupt
        self.made = True

    def stop_at_once_from_here(self) -> None:
        """Say that a checkpoint holds everything, so that nothing has to be waited for.

        Raises:
            KeyboardInterrupt: the run was asked to stop, now or later.
        """
        self._at_once = True
        if self.made:
            raise KeyboardInterrupt


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch the signals for the block; outside of the main thread, where Python cannot, they stay as they are."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
