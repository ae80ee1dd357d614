"""How long the body of a request may take to arrive: altogether, between two pieces, and on average."""

from __future__ import annotations

# Without a byte.
STALL_SECONDS = 5.0
# What has to have come, after the first seconds.
BYTES_A_SECOND = 4096
GRACE_SECONDS = 5.0


def arrival_deadline(started: float, now: float, arrived: int, seconds: float) -> float:
    """Return by when the next piece has to be there.

    Args:
        started: when the body began, in seconds of the event loop's clock.
        now: when the last piece came.
        arrived: bytes so far.
        seconds: that the whole may take.
    """
    return min(started + seconds, now + STALL_SECONDS, started + GRACE_SECONDS + arrived / BYTES_A_SECOND)
