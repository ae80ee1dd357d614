"""Trying again what may pass: a broken connection, a busy Hub; waiting as long as the Hub asks, within reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from flowercli.hub.faults import from_network, from_status, may_pass, retry_after, transport_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowercli.hub.reference import Reference

    Say = Callable[[str], None]

Result = TypeVar("Result")
# Seconds before each new attempt after one that brought nothing.
PAUSES = (0.5, 1.0, 2.0, 4.0)
# Where the Hub asks for more patience than this, the user decides.
MOST_PATIENCE = 60


class Patience:
    """Counts failures in a row, and waits after each until there are too many.

    Args:
        reference: what is asked for.
        say: called before each wait.
    """

    def __init__(self, reference: Reference, say: Say) -> None:
        self.reference, self.say, self.failures = reference, say, 0

    def progress(self) -> None:
        """Start counting anew."""
        self.failures = 0

    def wait_after(self, error: Exception) -> None:
        """Wait before the next attempt; raise the error where there is to be none."""
        from huggingface_hub.errors import HfHubHTTPError

        if not may_pass(error):
            raise error
        asked, explain = 0.0, from_network(error)
        if isinstance(error, HfHubHTTPError):
            asked, explain = retry_after(error) or 0.0, from_status(error, self.reference)
        if self.failures == len(PAUSES) or asked > MOST_PATIENCE:
            raise error
        pause = max(PAUSES[self.failures], asked)
        self.failures += 1
        self.say(f"{explain.message} Trying again in {pause:g} s.")
        time.sleep(pause)


def patiently(reference: Reference, say: Say, call: Callable[[], Result]) -> Result:
    """Return what a question to the Hub gives, asked again while what keeps it from an answer may pass."""
    patience = Patience(reference, say)
    while True:
        try:
            return call()
        except transport_error() as error:
            patience.wait_after(error)
