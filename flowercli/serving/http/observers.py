"""Those who are told of every answer, such as the log: whatever goes wrong with one harms no answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flowercli.monitoring.features import Observation

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """What is told of every answer. Called from several threads, each of which answers: it must not wait."""

    def observe(self, observation: Observation, request: str | None) -> None:
        """Take note of one answer; ``request`` is the id of the request it is for."""

    def close(self) -> None:
        """Write down what is left; the service has ended."""


class Observers:
    """Tells all observers. Without any it is false: nobody needs to make an observation."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, observation: Observation, request: str | None) -> None:
        """Hand an observation to each."""
        for observer in self._observers:
            try:
                observer.observe(observation, request)
            except Exception:
                logger.exception("An observer failed.")

    def close(self) -> None:
        """Close them, after the last answer."""
        for observer in self._observers:
            observer.close()
