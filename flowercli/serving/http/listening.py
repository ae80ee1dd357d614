"""Bind the socket of the service, before anything that takes time."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys

from flowercli.errors import FlowersError

MAX_PORT = 65535


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, and does not listen yet.

    Raises:
        FlowersError: the port is taken, or the address is not one of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise FlowersError(f"{host} is not an address of this machine: {error.strerror}.") from error
    try:
        if sys.platform != "win32":
            # A port whose last connections are still closing is free; on Windows this would share one in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_bind(host, port, error) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches the socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _cannot_bind(host: str, port: int, error: OSError) -> FlowersError:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < MAX_PORT else 8000
        return FlowersError(f"Port {port} of {host} is taken by another program.", hint=f"flowers serve --port {other}")
    if error.errno == errno.EACCES:
        return FlowersError(f"Port {port} of {host} may not be used.", hint="Ports from 1024 on need no permission.")
    return FlowersError(f"{host}, port {port}: {error.strerror}.", hint="--host 127.0.0.1 is always there.")
