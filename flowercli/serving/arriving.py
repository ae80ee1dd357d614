"""Take the body of a request: so many bytes, in so many seconds, and so many of all requests together."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from flowercli.serving.http.problems import Problem, busy

if TYPE_CHECKING:
    from starlette.types import Receive

# Without a byte.
STALL_SECONDS = 5.0
# What has to have come, after the first seconds.
BYTES_A_SECOND = 4096
GRACE_SECONDS = 5.0
RETRY_SECONDS = 1
# So many bytes are not little; those whose clients send less in this time give way to others that hold less.
PIECE = 16 * 2**10
SLOW_SECONDS = 1.0


class Arrivals:
    """The bodies that are on their way or held. For one event loop: nothing here needs a lock.

    Where there is no room, one that is still on its way gives way: the one whose client has sent little for longest, of
    those that hold more than the one that needs room, or that have sent little for a second. Strangers who stop in the
    midst of theirs keep nobody out so.

    Args:
        most: bytes of one request.
        held: bytes of all that have arrived and are not answered.
        seconds: that a body may take; less where it stops, or comes slowly.
    """

    def __init__(self, *, most: int, held: int, seconds: float) -> None:
        self._most = most
        self._limit = held
        self._seconds = seconds
        self._held = 0
        # The one that has sent little for longest first.
        self._arriving: dict[Body, None] = {}

    async def read(self, receive: Receive, announced: int = 0) -> Body:
        """Read the body of a request.

        Args:
            receive: gives its pieces, as ASGI has it.
            announced: its ``Content-Length``.

        Raises:
            Problem: 413, it is too large; 408, it comes too slowly; 503, too much is held.
            ClientDisconnect: the client has gone.
        """
        self._check(announced)
        body = Body(self)
        try:
            await self._read(body, receive)
        except TimeoutError:
            body.release()
            if body.gave_way:
                raise _no_room() from None
            message = f"The request stopped arriving, or took longer than {self._seconds:g} seconds."
            raise Problem(408, "too_slow", message, {"Connection": "close"}) from None
        except BaseException:
            body.release()
            raise
        finally:
            self._arriving.pop(body, None)
        return body

    async def _read(self, body: Body, receive: Receive) -> None:
        now = asyncio.get_running_loop().time
        started = now()
        chunks = body.chunks
        more = True
        async with asyncio.timeout(None) as clock:
            while more:
                clock.reschedule(self._deadline(started, now(), body.size))
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                more = message.get("more_body", False)
                if chunk := message.get("body", b""):
                    # Room is set aside for what has arrived, so what was announced and does not come takes none.
                    self._take(body, len(chunk))
                    chunks.append(chunk)
        body.content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()

    def _deadline(self, started: float, now: float, arrived: int) -> float:
        """Return by when the next piece has to be there, if the last one came now."""
        return min(started + self._seconds, now + STALL_SECONDS, started + GRACE_SECONDS + arrived / BYTES_A_SECOND)

    def _check(self, size: int) -> None:
        if size > self._most:
            limit = f"{self._most / 2**20:.4g} MiB"
            raise Problem(413, "body_too_large", f"The request is larger than {limit}.")

    def _take(self, body: Body, size: int) -> None:
        """Set room for some more bytes of a body aside."""
        self._check(body.size + size)
        now = asyncio.get_running_loop().time()
        while not body.gave_way and self._held + size > self._limit:
            other = self._next_to_give_way(body, body.size + size, now)
            other.give_way()
            self._arriving.pop(other, None)
        if body.gave_way:
            raise _no_room()
        self._held += size
        body.size += size
        if body.has_gone_on(now):
            self._arriving.pop(body, None)
        self._arriving[body] = None

    def _next_to_give_way(self, body: Body, size: int, now: float) -> Body:
        for other in self._arriving:
            if other is not body and (other.size > size or now - other.went_on_at > SLOW_SECONDS):
                return other
        return body

    def give_back(self, size: int) -> None:
        """Give room back."""
        self._held -= size


def _no_room() -> Problem:
    return busy(503, "too_busy", "Too many bytes of other requests are under way.", RETRY_SECONDS)


class Body:
    """The bytes of one request, and the room that they take until ``release``."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.chunks: list[bytes] = []
        self.content = b""
        self.size = 0
        self.gave_way = False
        self.went_on_at = -math.inf
        self._went_on = 0
        self._arrivals = arrivals

    def has_gone_on(self, now: float) -> bool:
        """Whether much has come since this was so the last time, or nothing had come before."""
        if self._went_on and self.size - self._went_on < PIECE:
            return False
        self.went_on_at, self._went_on = now, self.size
        return True

    def hand_over(self) -> bytes:
        """Return the bytes, and hold only their room from now on."""
        content, self.content = self.content, b""
        return content

    def give_way(self) -> None:
        """Let the bytes go, as another needs their room; whoever waits for more finds out with the next piece."""
        self.gave_way = True
        self.release()

    def release(self) -> None:
        """Let the bytes go."""
        self.chunks.clear()
        self.content = b""
        self._arrivals.give_back(self.size)
        self.size = 0
