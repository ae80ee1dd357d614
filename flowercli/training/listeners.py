"""Several listeners of a run as one; none at all, where a process is not the first of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowercli.training.loop import EpochReport, Listener


class Listeners:
    """A listener that passes on what it hears."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def started(self, name: str, identity: str) -> None:
        """Pass on that the run begins or goes on."""
        for listener in self.listeners:
            listener.started(name, identity)

    def step(self, *what: Any, **more: Any) -> None:
        """Pass on that an optimizer update is done."""
        for listener in self.listeners:
            listener.step(*what, **more)

    def epoch_done(self, report: EpochReport) -> None:
        """Pass on that an epoch is done."""
        for listener in self.listeners:
            listener.epoch_done(report)

    def say(self, message: str) -> None:
        """Pass on what the user should know."""
        for listener in self.listeners:
            listener.say(message)

    def phase(self, what: str) -> None:
        """Pass on that something begins."""
        for listener in self.listeners:
            listener.phase(what)
