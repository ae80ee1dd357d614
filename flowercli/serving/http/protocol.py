"""The HTTP protocol of uvicorn, with an end to what strangers may leave open: connections and half-sent headers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from flowercli.serving.http.problems import MEDIA_TYPE, Problem, busy

if TYPE_CHECKING:
    import asyncio

    from flowercli.serving.http.settings import Limits

HEADER_SECONDS = 10.0
LATE = Problem(408, "too_slow", "The headers took too long to arrive.")
FULL = busy(503, "too_many_connections", "Too many connections are open.", 1)
BAD_REQUEST = Problem(400, "bad_request", "This is not HTTP.")


class LimitedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # uvicorn takes one of two classes
    """Closes a connection whose headers do not arrive in time, or that is one too many."""

    max_connections = 0
    header_seconds = HEADER_SECONDS
    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a connection, or say that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._end(FULL)
            return
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent; the first bytes of a request start its clock."""
        before = self.cycle
        if self.deadline is None and (before is None or before.response_complete):
            self._expect_headers()
        super().data_received(data)
        if self.cycle is not before:
            self._stop_expecting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._stop_expecting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP in the form that all errors have."""
        del msg
        self._end(BAD_REQUEST)

    def _end(self, problem: Problem) -> None:
        self.transport.write(_plain_response(problem))
        self.transport.close()

    def _expect_headers(self) -> None:
        self.deadline = self.loop.call_later(self.header_seconds, self._end, LATE)

    def _stop_expecting(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


def limited_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return the protocol class for these limits."""
    seconds = min(HEADER_SECONDS, limits.upload)
    return type("Protocol", (LimitedProtocol,), {"max_connections": limits.connections, "header_seconds": seconds})


def _plain_response(problem: Problem) -> bytes:
    """Return a whole HTTP response, for where there is no application yet."""
    value: dict[str, Any] = problem.as_dict()
    body = json.dumps(value).encode()
    headers = {**problem.headers, "Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {problem.status} {value['title']}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
