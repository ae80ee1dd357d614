"""Bind the socket of the service, before anything that takes time."""

from __future__ import annotations

import errno
import ipaddress
import socket

from flowercli.errors import FlowersError
from flowercli.serving.listening import bound, http_url

MAX_PORT = 65535


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, and does not listen yet.

    Raises:
        FlowersError: the port is taken, or the address is not one of this machine.
    """
    try:
        return bound(host, port)
    except OSError as error:
        raise _cannot_bind(host, port, error) from error


def url_of(listener: socket.socket) -> str:
    """Return the address to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "localhost"
    return http_url(host, port)


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches the socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _cannot_bind(host: str, port: int, error: OSError) -> FlowersError:
    if isinstance(error, socket.gaierror) or error.errno == errno.EAFNOSUPPORT:
        return FlowersError(f"{host} is not an address of this machine: {error.strerror}.")
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < MAX_PORT else 8000
        return FlowersError(f"Port {port} of {host} is taken by another program.", hint=f"flowers serve --port {other}")
    if error.errno == errno.EACCES:
        return FlowersError(f"Port {port} of {host} may not be used.", hint="Ports from 1024 on need no permission.")
    return FlowersError(f"{host}, port {port}: {error.strerror}.", hint="--host 127.0.0.1 is always there.")
