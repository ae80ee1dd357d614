"""How many connections a server may have, said where they are fewer than were asked for."""

from __future__ import annotations

from flowercli.cli.output import warn
from flowercli.serving.sockets import connections_allowed


def tell_connections(wanted: int) -> int:
    """Return how many connections this process may have, at most ``wanted``; warn where that is less."""
    allowed = connections_allowed(wanted)
    if allowed < wanted:
        warn(f"{allowed} connections at once instead of {wanted}: more open files are not allowed (ulimit -n).")
    return allowed
