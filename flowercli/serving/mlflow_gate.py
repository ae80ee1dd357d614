"""What MLflow's scoring server lacks in front of ``/invocations``: limits, and errors that are short."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from flowercli.serving.arriving import arrival_deadline
from flowercli.serving.mlflow_request import RefusedError, rewritten

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        self._held = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request, or an event of the server's life."""
        problem = self._hosts.problem(scope) if scope["type"] == "http" else None
        if problem is not None:
            await _refuse(send, RefusedError(problem.status, problem.detail))
            return
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        upload = Upload(scope, receive)
        with self._room(upload):
            try:
                await self._receive(upload)
                body = b"".join(upload.chunks)
                upload.chunks.clear()
                request = await _rewritten(body, self._most_pictures)
                del body
            except RefusedError as refusal:
                await upload.drain()
                await _refuse(send, refusal)
                return
            await self._app(_with_length(scope, len(request)), _replay(request, receive), _shortened(send))

    @contextmanager
    def _room(self, upload: Upload) -> Iterator[None]:
        """Count a request as being in work, and what it has brought as held, until it is answered."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            self._held -= upload.length

    async def _receive(self, upload: Upload) -> None:
        """Receive a whole request.

        Raises:
            RefusedError: it is no JSON, too long, too slow, or more than there is room for now.
        """
        upload.check_headers()
        if self._requests > MAX_REQUESTS:
            raise RefusedError(503, "Too many requests are in work.")
        try:
            async with asyncio.timeout(None) as clock:
                now = asyncio.get_running_loop().time
                started = now()
                while not upload.complete:
                    clock.reschedule(arrival_deadline(started, now(), upload.length, RECEIVE_SECONDS))
                    if self._held > MAX_HELD:
                        raise RefusedError(503, "Too much is in work.")
                    # Others go on meanwhile: what is held is read after it.
                    size = await upload.receive()
                    self._held += size
        except TimeoutError:
            message = f"The request stopped arriving, or took longer than {RECEIVE_SECONDS:.0f} seconds."
            raise RefusedError(408, message) from None


class Upload:
    """The body of a request on its way in: its chunks so far, and whether they are all."""

    def __init__(self, scope: Message, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.chunks: list[bytes] = []
        self.length = 0
        self.complete = False

    def check_headers(self) -> None:
        """Look at what the request says about itself.

        Raises:
            RefusedError: it is no JSON, or too long.
        """
        kind, _, parameter = (self._header(b"content-type") or "").lower().replace(" ", "").partition(";")
        if kind != JSON or parameter not in {"", "charset=utf-8"}:
            raise RefusedError(415, f"The content type has to be {JSON}.")
        if int(self._header(b"content-length") or 0) > MAX_BODY:
            raise _too_long()

    async def receive(self) -> int:
        """Wait for the next chunk and return its length.

        Raises:
            RefusedError: it makes the request too long, or the client has gone.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.complete = True
            raise RefusedError(400, "The request is not complete.")
        self.complete = not message.get("more_body", False)
        chunk = message.get("body", b"")
        if self.length + len(chunk) > MAX_BODY:
            raise _too_long()
        self.chunks.append(chunk)
        self.length += len(chunk)
        return len(chunk)

    async def drain(self) -> None:
        """Throw away what is still to come; a client that asks before it sends is told at once."""
        if self._header(b"expect") is not None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.complete:
                    self.complete = not (await self._receive()).get("more_body", False)

    def _header(self, name: bytes) -> str | None:
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == name), None)


async def _rewritten(body: bytes, most: int) -> bytes:
    """Return a request in the form that costs least; a large one on a thread, as others are answered meanwhile."""
    if len(body) <= INLINE_BYTES:
        return rewritten(body, most)
    return await asyncio.to_thread(rewritten, body, most)


def _too_long() -> RefusedError:
    return RefusedError(413, f"A request has at most {MAX_BODY // 2**20} MiB.")


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
            await _refuse(send, RefusedError(message["status"], "The model did not answer."))
        elif not refused:
            await send(message)

    return shortened


async def _refuse(send: Send, refusal: RefusedError) -> None:
    """Answer with MLflow's form of an error."""
    code = ERROR_CODES.get(refusal.status, "BAD_REQUEST" if refusal.status < 500 else "INTERNAL_ERROR")  # noqa: PLR2004
    body = json.dumps({"error_code": code, "message": refusal.message}).encode()
    headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
    if refusal.status == 503:  # noqa: PLR2004
        headers.append((b"retry-after", b"1"))
    if refusal.status == 408:  # noqa: PLR2004
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
