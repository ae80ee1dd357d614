"""Those who look at every answer after it was given, such as a monitor: on a thread of their own, never in the way."""

from __future__ import annotations

import logging
from queue import Full, Queue
from threading import Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowercli.monitoring.features import Observation

# Answers that wait for slow observers; more are dropped rather than kept in memory.
WAITING = 4096
logger = logging.getLogger(__name__)


class Observer(Protocol):
    """What looks at every answer of the service. Called from one thread only."""

    def observe(self, observation: Observation, request: str | None) -> None:
        """Look at one answer, after it was given; ``request`` is the id of the request it was for."""

    def close(self) -> None:
        """Write down what is left; the service has ended."""


class Observers:
    """Hands observations to all observers, in order, on one thread.

    Without observers it has no thread, and is false: nobody needs to make an observation.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self._waiting: Queue[tuple[Observation, str | None] | None] = Queue(WAITING)
        self._dropped = 0
        self._thread = Thread(target=self._hand_over, name="flowers-observers", daemon=True)
        if self._observers:
            self._thread.start()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, observation: Observation, request: str | None) -> None:
        """Take an observation, without ever waiting."""
        try:
            self._waiting.put_nowait((observation, request))
        except Full:
            self._dropped += 1

    def close(self) -> None:
        """Hand over what waits, then close the observers."""
        if not self._observers:
            return
        self._waiting.put(None)
        self._thread.join()
        for observer in self._observers:
            observer.close()
        if self._dropped:
            logger.warning("%d answers were not observed: the observers are too slow.", self._dropped)

    def _hand_over(self) -> None:
        while (told := self._waiting.get()) is not None:
            for observer in self._observers:
                try:
                    observer.observe(*told)
                except Exception:
                    # A full disk of the monitor must not end the service.
                    logger.exception("An observer failed.")
