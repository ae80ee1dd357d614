"""Which names a service answers to, and whose pages may have something done.

A browser sends the name that it believes to talk with, in ``Host``, and the page that asks, in ``Origin``. A page of a
stranger can make its own name point at this machine (DNS rebinding), or post to a service on it without reading the
answer.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from flowercli.serving.http.problems import Problem

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]{1,5})?")
# Methods that only ask; what is not among them changes or computes something.
ASKING = frozenset({"GET", "HEAD", "OPTIONS"})
ANY = "*"


@dataclass(frozen=True)
class Hosts:
    """The names that a service answers to.

    ``names`` are in lower case, without port and brackets, and may have wildcards. With ``any_address``, any
    IP address is one too: no name has to point at it. ``origins`` are those whose pages may ask, beside its own.
    """

    names: tuple[str, ...] = LOOPBACK
    any_address: bool = False
    origins: tuple[str, ...] = ()

    @classmethod
    def of(cls, host: str, allowed: Iterable[str], origins: Iterable[str] = ()) -> Self:
        """Return the names of a service that listens on ``host``, and is allowed some more."""
        everywhere = not host or (_is_address(host) and ipaddress.ip_address(host).is_unspecified)
        machine = socket.gethostname()
        own = (machine, f"{machine}.local") if everywhere else (host.partition("%")[0], *_addresses(host))
        names = dict.fromkeys(name.lower().strip("[]") for name in (*LOOPBACK, *own, *allowed))
        return cls(tuple(names), everywhere, tuple(origins))

    def problem(self, scope: Mapping[str, Any]) -> Problem | None:
        """Return what is wrong with the ``Host`` and ``Origin`` of a request, given as its ASGI scope."""
        given = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        found = HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None:
            return Problem(400, "bad_host", "A request has one Host header, with a name or an address.")
        name = found["name"].rstrip(".").strip("[]")
        if not self._answers_to(name):
            detail = f"This service does not answer to {name[:100]}; --allow-host adds a name."
            return Problem(403, "unknown_host", detail)
        return None if scope["method"] in ASKING else self._origin_problem(scope, given[0])

    def _answers_to(self, name: str) -> bool:
        if _is_address(name):
            name = str(ipaddress.ip_address(name))  # There are several ways to write one.
        return (self.any_address and _is_address(name)) or any(fnmatchcase(name, pattern) for pattern in self.names)

    def _origin_problem(self, scope: Mapping[str, Any], host: str) -> Problem | None:
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        for origin in origins:
            own = origin.partition("://")[2].lower() == host
            if not (own or origin in self.origins or ANY in self.origins):
                detail = f"Pages of {origin[:100]} may not ask; --cors-origin lets them."
                return Problem(403, "foreign_origin", detail)
        return None


def _addresses(host: str) -> list[str]:
    """Return the addresses that a name of this machine stands for."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(address[4][0]).partition("%")[0] for address in found]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
