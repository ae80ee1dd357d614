"""Trying again what may pass: a broken connection, a busy server; waiting as long as it asks, within reason."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowercli.errors import DownloadError
    from flowercli.transfer.contract import Listener

FIRST_DELAY_SECONDS = 0.25


class TemporaryFault(Exception):  # noqa: N818  (carries the error that is raised in the end)
    """Something that may be gone at the next try; ``after`` is the wait in seconds that the source asked for."""

    def __init__(self, error: DownloadError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after


@dataclass(frozen=True)
class Patience:
    """How long to wait for a source that does not answer or fails.

    ``retries`` counts failures in a row that brought less than ``least`` bytes. ``timeout`` is for connecting and for
    each silence, ``longest_wait`` the longest a source may ask us to wait, ``slow`` what is given, besides a silence,
    for the head of an answer with all redirections, and then for each ``least`` bytes; in seconds.
    """

    retries: int = 5
    timeout: float = 20
    longest_wait: float = 120
    slow: float = 60
    least: int = 2**12

    @property
    def span(self) -> float:
        """The seconds within which something must have come."""
        return self.timeout + self.slow

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row: twice as long each time, with jitter."""
        return random.uniform(0.5, 1) * min(FIRST_DELAY_SECONDS * 2.0**failures, self.longest_wait)  # noqa: S311

    def wait(self, fault: TemporaryFault, failures: int, listener: Listener) -> None:
        """Wait before the next try, after so many failures in a row.

        Raises:
            DownloadError: they were too many, or the source asks to wait too long.
        """
        if failures > self.retries or (fault.after or 0) > self.longest_wait:
            raise fault.error from fault
        seconds = fault.after if fault.after is not None else self.delay(failures)
        listener.retry(fault.error, seconds)
        time.sleep(seconds)
