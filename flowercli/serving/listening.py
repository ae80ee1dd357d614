"""Bound sockets, which nothing listens on yet: a port that is taken is told before anything that takes time."""

from __future__ import annotations

import socket
import sys

SEND_BUFFER = 256 * 2**10


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


def http_url(host: str, port: int) -> str:
    """Return the URL of a host, which may be an IPv6 address, and a port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
