"""Take the body of a request: so many bytes, in so many seconds, and so many of all requests together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from flowercli.serving.arriving import arrival_deadline
from flowercli.serving.http.problems import Problem, busy

if TYPE_CHECKING:
    from starlette.requests import Request

    from flowercli.serving.http.settings import Limits

RETRY_SECONDS = 1


class Bodies:
    """The bodies that are under way or held. For one event loop: nothing here needs a lock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    async def read(self, request: Request) -> Body:
        """Read the body of a request.

        Raises:
            Problem: 413, it is too large; 408, it comes too slowly; 415, it is compressed; 503, too much is held.
            ClientDisconnect: the client has gone.
        """
        self._check_announced(request)
        body = Body(self)
        try:
            async with asyncio.timeout(None) as clock:
                await self._receive(request, body, clock)
        except TimeoutError:
            body.release()
            message = f"The request stopped arriving, or took longer than {self._limits.upload:g} seconds."
            raise Problem(408, "too_slow", message, {"Connection": "close"}) from None
        except BaseException:
            body.release()
            raise
        return body

    async def _receive(self, request: Request, body: Body, clock: asyncio.Timeout) -> None:
        chunks = []
        more = True
        now = asyncio.get_running_loop().time
        started = now()
        while more:
            # Room is set aside for what has arrived, so what was announced and does not come takes none.
            clock.reschedule(arrival_deadline(started, now(), body.size, self._limits.upload))
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            if chunk:
                chunks.append(chunk)
                body.arrived(len(chunk))
        body.content = chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check_announced(self, request: Request) -> None:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise Problem(415, "unsupported_encoding", "Compressed requests are not taken: send it as it is.")
        length = request.headers.get("content-length", "")
        self.check(int(length) if length.isdecimal() else 0)

    def check(self, size: int) -> None:
        """Refuse a body of this size.

        Raises:
            Problem: 413.
        """
        if size > self._limits.body:
            limit = f"{self._limits.body / 2**20:.4g} MiB"
            raise Problem(413, "body_too_large", f"The request is larger than {limit}.")

    def take(self, size: int) -> None:
        """Set room for some more bytes aside.

        Raises:
            Problem: 503, there is none.
        """
        if self._held + size > self._limits.held:
            raise busy(503, "too_busy", "Too many bytes of other requests are under way.", RETRY_SECONDS)
        self._held += size

    def give_back(self, size: int) -> None:
        """Give room back."""
        self._held -= size


class Body:
    """The bytes of one request, and the room that they take until ``release``."""

    def __init__(self, bodies: Bodies) -> None:
        self.content = b""
        self.size = 0
        self._bodies = bodies

    def arrived(self, size: int) -> None:
        """Count bytes that have come."""
        self._bodies.check(self.size + size)
        self._bodies.take(size)
        self.size += size

    def release(self) -> None:
        """Let the bytes go."""
        self.content = b""
        self._bodies.give_back(self.size)
        self.size = 0
