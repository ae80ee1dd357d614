"""Bound sockets, which nothing listens on yet, and how many connections this process may have.

A port that is taken is told before anything that takes time.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

SEND_BUFFER = 256 * 2**10
# Open files of a server that has no connection yet, with room for more: its libraries, log, pipes.
OWN_FILES = 64
LEAST = 8


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that is bound.

    Raises:
        OSError: the port is taken or not allowed; a ``gaierror`` where the address is none of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            # A port whose last connections are still closing is free; on Windows this would share one in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections have it from this one. Left alone, Linux holds megabytes for a client that does not read.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def connections_allowed(wanted: int) -> int:
    """Raise this process's limit on open files (``ulimit -n``) as far as it needs and may; its children inherit it.

    Where that limit was reached, a server could take no connection at all, and so let none give way.

    Returns:
        how many connections it may have, at most ``wanted``.
    """
    if sys.platform == "win32":
        return wanted
    import resource

    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OWN_FILES
    if limit != resource.RLIM_INFINITY and limit < needed:
        with suppress(OSError, ValueError):
            new = needed if most == resource.RLIM_INFINITY else min(needed, most)
            resource.setrlimit(resource.RLIMIT_NOFILE, (new, most))
            limit = new
        return min(wanted, max(LEAST, limit - OWN_FILES))
    return wanted


def http_url(host: str, port: int) -> str:
    """Return the URL of a host, which may be an IPv6 address, and a port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
