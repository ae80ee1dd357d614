"""Bound sockets, which nothing listens on yet, and how many connections this process may have.

A port that is taken is told before anything that takes time.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from contextlib import suppress

from flowercli.errors import ServingError

MAX_PORT = 65535
SEND_BUFFER = 256 * 2**10
# Open files of a server that has no connection yet, with room for more: its libraries, log, pipes.
OWN_FILES = 64
LEAST = 8


def bind(host: str, port: int, command: str) -> socket.socket:
    """Return a socket that is bound; ``command`` is what was typed for it, for messages.

    Raises:
        ServingError: the port is taken or not allowed, or the address is not one of this machine.
    """
    try:
        return _bound(host, port)
    except OSError as error:
        raise _cannot_bind(host, port, command, error) from error


def url_of(listener: socket.socket) -> str:
    """Return the address of a bound socket, as clients on this machine write it."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches a bound socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _bound(host: str, port: int) -> socket.socket:
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


def _cannot_bind(host: str, port: int, command: str, error: OSError) -> ServingError:
    if isinstance(error, socket.gaierror) or error.errno == errno.EAFNOSUPPORT:
        return ServingError(f"{host} is not an address of this machine: {error.strerror}.")
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < MAX_PORT else 8000
        return ServingError(f"Port {port} of {host} is taken by another program.", hint=f"{command} --port {other}")
    if error.errno == errno.EACCES:
        return ServingError(f"Port {port} of {host} may not be used.", hint="Ports from 1024 on need no permission.")
    return ServingError(f"{host}, port {port}: {error.strerror}.", hint="--host 127.0.0.1 is always there.")
