"""Around every request: its id, what is counted and logged, and an end that lets the answer arrive."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Container
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from flowercli.serving.http.access_log import MAX_TEXT, AccessLog
from flowercli.serving.http.problems import busy

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from flowercli.serving.http.service import Service

logger = logging.getLogger(__name__)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"})
SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
SHED = frozenset({429, 503})
GONE = 499
# What a client still sends after it was refused is taken and thrown away, or it would not read the answer.
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 2**20
# Up to this, the connection is kept: under a load that is too high, each new one would cost more than the refusal.
KEPT_BYTES = 2**20
HEADERS = ((b"x-content-type-options", b"nosniff"),)


class Guard:
    """The outermost layer of the application.

    Args:
        app: the routes.
        service: what they ask.
        routes: the paths that are counted under their own name.
        page: the paths of the page, which are counted together.
        log: where a line for each request goes.
    """

    def __init__(
        self, app: ASGIApp, service: Service, routes: Container[str], page: Container[str], log: AccessLog | None
    ) -> None:
        self._app = app
        self._service = service
        self._routes = routes
        self._page = page
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, draining=self._service.draining)
        metrics = self._service.metrics
        metrics.in_progress.inc()
        try:
            await self._handle(exchange)
            await exchange.finish()
        except asyncio.CancelledError:  # uvicorn's, when the seconds for the end are over.
            await exchange.give_up()
        finally:
            metrics.in_progress.dec()
            self._account(exchange)

    async def _handle(self, exchange: Exchange) -> None:
        scope = exchange.scope
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = GONE
        except Exception:
            logger.exception("A request failed: %s", exchange.id)

    def _account(self, exchange: Exchange) -> None:
        """Count a request, and write its line."""
        scope = exchange.scope
        path, method, status = scope["path"], scope["method"], exchange.status or GONE
        seconds = perf_counter() - exchange.started
        route = path if path in self._routes else "page" if path in self._page else "other"
        self._service.metrics.request(route, method if method in METHODS else "other", status, seconds)
        if status in SHED and method == "POST":
            self._service.metrics.shed(status)
        if self._log is None:
            return
        client = scope.get("client")
        told = dict(scope["state"])
        fields = {
            "request_id": told.pop("request_id"), "client": client[0] if client else None, "method": method[:MAX_TEXT],
            "path": path[:MAX_TEXT], "status": status, "ms": round(1000 * seconds, 2), **told,
            "bytes_out": exchange.bytes_out,
        }  # fmt: skip
        self._log.add(asyncio.get_running_loop(), fields)


class Exchange:
    """One request and its answer, as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, draining: bool) -> None:
        self.scope = scope
        self.started = perf_counter()
        self.status = 0
        self.bytes_out = 0
        self._receive = receive
        self._send = send
        self._draining = draining
        self._more = True
        self._ended = False
        self._expects = False
        self._size = 0
        given = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"content-length" and value.isdigit():
                self._size = int(value)
            elif name == b"transfer-encoding":
                self._size = LINGER_BYTES
            elif name == b"expect":
                self._expects = True
        self._more = self._size > 0
        self.id = given.decode() if SANE_ID.fullmatch(given) else secrets.token_hex(8)
        scope["state"] = {"request_id": self.id}

    async def receive(self) -> Message:
        """Pass what the client sends on."""
        message = await self._receive()
        self._more = self._more and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on, but hold its end back while the client is still sending."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *HEADERS, (b"x-request-id", self.id.encode())]
            if self._draining or (self._more and self._size > KEPT_BYTES):
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        else:
            self.bytes_out += len(message.get("body", b""))
            if self._more and not message.get("more_body", False):
                self._ended = True
                message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """End an answer that was given before the request had arrived.

        A connection that is closed while the client sends is reset, and the client then never reads why it was refused.
        The whole answer is out by now; the client is given a little time to read it, and to stop.
        """
        if not self._ended:
            return
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._throw_away()
        except TimeoutError:
            pass
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def give_up(self) -> None:
        """End an answer, or give one where none was begun: there is no more time."""
        self._more = False
        if not self.status:
            problem = busy(503, "shutting_down", "The service ends.", 1)
            await problem.response()(self.scope, self.receive, self.send)
        elif self._ended:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _throw_away(self) -> None:
        left = LINGER_BYTES
        while self._more and left > 0 and not self._expects:
            message: dict[str, Any] = dict(await self.receive())
            if message["type"] == "http.disconnect":
                return
            left -= len(message.get("body", b""))
