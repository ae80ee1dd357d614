"""What MLflow's scoring server lacks in front of ``/invocations``: limits, and errors that are short."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from flowercli.serving.arriving import Arrivals
from flowercli.serving.http.problems import Problem
from flowercli.serving.mlflow.request import RefusedError, rewritten

if TYPE_CHECKING:
    from flowercli.serving.hosts import Hosts

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PATH = "/invocations"
JSON = "application/json"
# Of a request; base64 is a third larger than the pictures.
MAX_BODY = 48 * 2**20
# Of what a worker has received and not answered; while it is read, each byte is held a few times.
MAX_HELD = 2 * MAX_BODY
MAX_REQUESTS = 64
# Below this, parsing takes less time than handing it to a thread.
INLINE_BYTES = 256 * 1024
# For sending a request.
RECEIVE_SECONDS = 30.0
# For sending the rest of one that is refused: many clients read no answer before.
DRAIN_SECONDS = 5.0
ERROR_CODES = {
    403: "PERMISSION_DENIED",
    408: "DEADLINE_EXCEEDED",
    413: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


class Gate:
    """An ASGI application around MLflow's, in one worker.

    Of what has the name of this server, all but ``POST /invocations`` passes untouched.
    """

    def __init__(self, app: App, most_pictures: int, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts
        self._most_pictures = most_pictures
        self._requests = 0
        self._arrivals = Arrivals(most=MAX_BODY, held=MAX_HELD, seconds=RECEIVE_SECONDS)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request, or an event of the server's life."""
        if scope["type"] == "lifespan":
            # MLflow has each request wait on a thread of these for its pictures; there would be four beside the cores.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MAX_REQUESTS, "flowers-request"))
        problem = self._hosts.problem(scope) if scope["type"] == "http" else None
        if problem is not None:
            await _refuse(send, problem.status, problem.detail)
        elif scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
        else:
            await self._invoke(scope, Upload(scope, receive), send)

    async def _invoke(self, scope: Message, upload: Upload, send: Send) -> None:
        try:
            async with self._received(upload) as body:
                request = await _rewritten(body, self._most_pictures)
                del body
                replayed = _replay(request, upload.receive)
                await self._app(_with_length(scope, len(request)), replayed, _shortened(send))
        except ClientDisconnect:
            return
        except (Problem, RefusedError) as error:
            await upload.drain()
            await _refuse(send, error.status, str(error))

    @asynccontextmanager
    async def _received(self, upload: Upload) -> AsyncIterator[bytes]:
        """Yield the body of a request. It counts as in work, and what it brought as held, until it is answered."""
        upload.check_kind()
        body = await self._arrivals.read(upload.receive, upload.announced())
        self._requests += 1
        try:
            if self._requests > MAX_REQUESTS:
                raise RefusedError(503, "Too many requests are in work.")
            yield body.hand_over()
        finally:
            self._requests -= 1
            body.release()


class Upload:
    """The body of a request on its way in, and whether all of it has come."""

    def __init__(self, scope: Message, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self._complete = False

    def check_kind(self) -> None:
        """Look at what the request says about itself.

        Raises:
            RefusedError: it is no JSON.
        """
        kind, _, parameter = (self._header(b"content-type") or "").lower().replace(" ", "").partition(";")
        if kind != JSON or parameter not in {"", "charset=utf-8"}:
            raise RefusedError(415, f"The content type has to be {JSON}.")

    def announced(self) -> int:
        """Return the bytes that it says it has."""
        return int(self._header(b"content-length") or 0)

    async def receive(self) -> Message:
        """Pass the next piece on."""
        message = await self._receive()
        self._complete = self._complete or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Throw away what is still to come; a client that asks before it sends is told at once."""
        if self._header(b"expect") is not None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._complete:
                    await self.receive()

    def _header(self, name: bytes) -> str | None:
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == name), None)


async def _rewritten(body: bytes, most: int) -> bytes:
    """Return a request in the form that costs least; a large one on a thread, as others are answered meanwhile."""
    if len(body) <= INLINE_BYTES:
        return rewritten(body, most)
    return await asyncio.to_thread(rewritten, body, most)


def _with_length(scope: Message, length: int) -> Message:
    """Return the scope of the request as it is passed on."""
    kept = [(key, value) for key, value in scope["headers"] if key not in {b"content-length", b"transfer-encoding"}]
    return {**scope, "headers": [*kept, (b"content-length", str(length).encode())]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body, and then what else the client does."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _shortened(send: Send) -> Send:
    """Return a ``send`` that answers in one sentence where MLflow would show the input and where its code is."""
    refused = False

    async def shortened(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start" and message["status"] >= 400:  # noqa: PLR2004
            refused = True
            await _refuse(send, message["status"], "The model did not answer.")
        elif not refused:
            await send(message)

    return shortened


async def _refuse(send: Send, status: int, message: str) -> None:
    """Answer with MLflow's form of an error."""
    code = ERROR_CODES.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")  # noqa: PLR2004
    body = json.dumps({"error_code": code, "message": message}).encode()
    headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
    if status == 503:  # noqa: PLR2004
        headers.append((b"retry-after", b"1"))
    if status == 408:  # noqa: PLR2004
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
