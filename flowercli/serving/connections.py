"""The HTTP protocol of uvicorn, with an end to what strangers may leave open: half-sent requests and unread answers.

A connection waits for its client in one of three ways: for the headers of a request, for its body, or for an answer to
be read. Each has limits, in bytes or seconds. Where all connections are taken, one that waits for its client gives way
to a new one: first those that have sent nothing, last those that send a body, of each kind the one that waited longest.
"""

from __future__ import annotations

import json
import re
from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flowercli.serving.http.problems import MEDIA_TYPE, Problem, busy

if TYPE_CHECKING:
    import asyncio

HEADER_SECONDS = 10.0
# Of a request line with its headers; and of all that is sent around a body in pieces, beside half its size.
HEADER_BYTES = 64 * 2**10
# In which a client has to read what uvicorn holds of an answer, some ten kilobytes.
ANSWER_SECONDS = 10.0
# Requests that a client may send before it has read an answer.
MOST_WAITING = 16
MAX_CONNECTIONS = 512
TICK_SECONDS = 1.0
# Of what one client sent, that is parsed before it is the turn of others: a quarter of a megabyte comes at once, which
# in pieces of one byte holds everybody up.
SLICE = 32 * 2**10

UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
LATE = Problem(408, "too_slow", "The headers took too long to arrive.")
LARGE = Problem(431, "headers_too_large", f"The headers are larger than {HEADER_BYTES // 2**10} KiB.")
FULL = busy(503, "too_many_connections", "Too many connections are open.", 1)
BAD_REQUEST = Problem(400, "bad_request", "This is not HTTP.")


class TooManyError(Exception):
    """More requests wait on one connection than may; the parser makes of it what is no HTTP."""


class WhileOpen:
    """A transport that is written to while it is open: a client may go away in the midst of an answer.

    uvicorn does not know so at once, and uvloop's own raises then.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Send bytes, or throw them away where nobody takes them."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        """Be the transport in all else."""
        return getattr(self._transport, name)


class LimitedProtocol(HttpToolsProtocol):
    """Closes a connection that waits for its client for too long, or that is one too many."""

    max_connections = MAX_CONNECTIONS
    header_seconds = HEADER_SECONDS
    answer_seconds = ANSWER_SECONDS
    _tick: asyncio.TimerHandle | None = None
    has_sent = False
    # When what it waits for now began, and whether that is the headers of a request; since when an answer lies unread.
    _since = 0.0
    _in_headers = True
    _unread_since: float | None = None
    _unread = 0
    # Of the request under way: bytes that came beside its body, and the bytes of the body.
    _around = 0
    _content = 0
    # Whether slices of what it sent wait for their turn.
    _is_slicing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection, or say that there are too many."""
        super().connection_made(cast("asyncio.Transport", WhileOpen(transport)))
        self._slices: deque[bytes] = deque()
        self._since = self.loop.time()
        self._tick = self.loop.call_later(TICK_SECONDS, self._look)
        if len(self.connections) > self.max_connections and not self._make_room():
            self._end(FULL)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent, a slice at a time."""
        self._slices.extend(data[start : start + SLICE] for start in range(0, len(data), SLICE))
        if not self._is_slicing:
            self._take_slice()

    def _take_slice(self) -> None:
        if self.transport.is_closing():
            self._slices.clear()
            return
        self._take(self._slices.popleft())
        if self._slices:
            self._is_slicing = True
            self.transport.pause_reading()
            self.loop.call_soon(self._take_slice)
        elif self._is_slicing:
            self._is_slicing = False
            if not self.flow.read_paused:
                self.transport.resume_reading()

    def _take(self, data: bytes) -> None:
        """Parse bytes; the first ones of a request start its clock."""
        before = self.cycle
        if not self._in_headers and before.response_complete:
            self._in_headers, self._since = True, self.loop.time()
            self._around = self._content = 0
        self.has_sent = True
        if self._in_headers:
            data = _without_upgrade(data)
        self._around += len(data)
        super().data_received(data)
        if self.cycle is not before:
            # Headers have come whole: within the limit, or in the one piece that went beyond it.
            self._in_headers, self._since = False, self.loop.time()
            self._around = 0
        elif self._around > HEADER_BYTES + self._content // 2:
            self._end(LARGE)

    def on_headers_complete(self) -> None:
        """Start the count of a body."""
        self._content = 0
        if len(self.pipeline) >= MOST_WAITING:
            raise TooManyError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count a piece of a body."""
        self._content += len(body)
        self._around -= len(body)
        self._since = self.loop.time()
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Note when an answer was given."""
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Hold an answer back that the client does not read."""
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on with an answer that the client reads."""
        self._unread_since = None
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        if self._tick is not None:
            self._tick.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP in the form that all errors have."""
        del msg
        self._end(BAD_REQUEST)

    def gives_way(self) -> tuple[bool, bool, float] | None:
        """Return its place in the order in which connections give way; ``None`` where the client waits for us."""
        if self._unread_since is not None:
            return True, False, self._unread_since
        between = self._in_headers or self.cycle.response_complete
        sends_body = not between and self.cycle.more_body
        return (self.has_sent, sends_body, self._since) if between or sends_body else None

    def abort(self) -> None:
        """End the connection at once; what answers on it finds its client gone."""
        self.transport.abort()

    def _make_room(self) -> bool:
        """Take the place of a connection that waits for its client, if there is one."""
        waiting = [
            (place, each)
            for each in self.connections
            if isinstance(each, LimitedProtocol) and each is not self and not each.transport.is_closing()
            if (place := each.gives_way()) is not None
        ]
        if waiting:
            min(waiting, key=itemgetter(0))[1].abort()
        return bool(waiting)

    def _look(self) -> None:
        """Look every second whether the client lets this connection wait for too long."""
        now = self.loop.time()
        self._tick = self.loop.call_later(TICK_SECONDS, self._look)
        before, self._unread = self._unread, self.transport.get_write_buffer_size()
        if not self._unread:
            self._unread_since = None
        elif self._unread_since is None or self._unread < before:
            self._unread_since = now
        if self._unread_since is not None and now - self._unread_since > self.answer_seconds:
            self.abort()
        elif self._in_headers and now - self._since > self.header_seconds:
            self._end(LATE)

    def _end(self, problem: Problem) -> None:
        if not self.transport.is_closing():
            self.transport.write(_plain_response(problem))
            self.transport.close()


def limited_protocol(connections: int, seconds: float) -> type[asyncio.Protocol]:
    """Return the protocol class for at most so many connections and seconds for the headers of a request."""
    limits = {"max_connections": connections, "header_seconds": min(HEADER_SECONDS, seconds)}
    return type("Protocol", (LimitedProtocol,), limits)


def _without_upgrade(data: bytes) -> bytes:
    """Rename the header by which a client offers another protocol: none is here, and the parser drops its body."""
    head, end, rest = data.partition(b"\r\n\r\n")
    return UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest


def _plain_response(problem: Problem) -> bytes:
    """Return a whole HTTP response, for where there is no application yet."""
    value: dict[str, Any] = problem.as_dict()
    body = json.dumps(value).encode()
    headers = {**problem.headers, "Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {problem.status} {value['title']}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
