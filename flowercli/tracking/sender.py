"""The thread that sends a spool while training goes on, and keeps trying when the server does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowercli.transfer.clock import TooSlowError

if TYPE_CHECKING:
    from flowercli.tracking.replay import Replay

# Seconds: between two looks at the spool, and between two tries at a server that does not answer.
POLL = 1.0
FIRST_RETRY = 0.5
LONGEST_RETRY = 15.0
RETRY_AT_THE_END = 1.0
# How much longer than a server that does not answer one is waited for that is at work: a model is a large file.
AT_WORK = 30


class Sender(threading.Thread):
    """Sends what a spool holds, batch by batch.

    Args:
        replay: the spool and the store.
        say: told, from this thread, when the server stops answering and when it answers again.
    """

    def __init__(self, replay: Replay, say: Callable[[str], None]) -> None:
        # A daemon, so that a second Ctrl-C ends the program; the spool stays.
        super().__init__(name="tracking", daemon=True)
        self.replay = replay
        self.trouble: Exception | None = None
        self._say = say
        self._closing = threading.Event()
        self._give_up_at = 0.0
        self._began = 0.0

    def run(self) -> None:
        """Send until all is sent, or until there is no more time to try."""
        retry = FIRST_RETRY
        while True:
            self._began = time.monotonic()
            try:
                more = self.replay.send_next()
            except Exception as error:  # noqa: BLE001  (requests, urllib3, SQLAlchemy, MLflow: whatever it is, training goes on)
                self._note(error)
                if self._closing.is_set() and time.monotonic() > self._give_up_at:
                    return
                self._wait(retry)
                retry = min(2 * retry, LONGEST_RETRY)
                continue
            self._note(None)
            retry = FIRST_RETRY
            if not more:
                if self._closing.is_set():
                    return
                self._closing.wait(POLL)

    def finish(self, patience: float) -> None:
        """Send the rest, for as long as that goes on.

        A server that does not answer is given ``patience`` seconds, and one that is at work :data:`AT_WORK` times as
        many for each request; after that the thread is left behind, still alive.
        """
        start, longest = time.monotonic(), AT_WORK * patience
        self._give_up_at = start + patience
        self._closing.set()
        while self.is_alive():
            if time.monotonic() > max(start, self._began) + longest:
                self.trouble = TooSlowError(f"one request has taken more than {longest:g} seconds")
                return
            self.join(min(POLL, longest / 2))

    def _wait(self, seconds: float) -> None:
        if self._closing.is_set():
            time.sleep(min(seconds, RETRY_AT_THE_END))
        else:
            self._closing.wait(seconds)

    def _note(self, trouble: Exception | None) -> None:
        if trouble is not None and self.trouble is None:
            self._say("The tracking server does not answer; training goes on, and what it misses is sent later.")
        elif trouble is None and self.trouble is not None:
            self._say("The tracking server answers again.")
        self.trouble = trouble
