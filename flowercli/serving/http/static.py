"""The page at ``/``: its files, fixed when the service starts, with headers that keep it from asking anybody else."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from flowercli.serving.page.files import PageFile

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    # Together they let WebAssembly use threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # Asked again each time, and answered with 304: a new model is seen at once.
    "Cache-Control": "no-cache",
}

# Takes 0.2 s for the 14 MB of onnxruntime, which become 3.9; the best level takes four times that for 3.7.
LEVEL = 4
# A graph hardly shrinks: its weights are as good as noise.
WORTH = 0.9
PIECE = 64 * 2**10
NOT_WANTED = re.compile(r"q=0(\.0*)?")


class InPieces(Response):
    """A response whose bytes are handed over as the client reads them: one that does not, holds one piece."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)
        for start in range(0, max(1, len(body)), PIECE):
            end = start + PIECE
            await send({"type": "http.response.body", "body": body[start:end], "more_body": end < len(body)})


class Offered:
    """A file as it is sent: as it is, or with gzip to whoever takes that, where it saves something."""

    def __init__(self, file: PageFile) -> None:
        self._file = file
        self._tag = hashlib.sha256(file.content).hexdigest()[:32]

    async def answer(self, request: Request) -> Response:
        """Return the file, or 304 to whoever has it already."""
        packed = await self._packed_for(request)
        # Each form of a file has a tag of its own (RFC 9110, 8.8.3.3).
        headers = HEADERS | {"ETag": f'"{self._tag}{"-gzip" if packed else ""}"', "Vary": "Accept-Encoding"}
        if self._tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return InPieces(packed or self._file.content, headers=headers, media_type=self._file.media_type)

    async def _packed_for(self, request: Request) -> bytes | None:
        if not _takes_gzip(request.headers.get("accept-encoding", "")):
            return None
        return await asyncio.to_thread(lambda: self._packed)

    @cached_property
    def _packed(self) -> bytes | None:
        """The file packed, or ``None`` where that saves too little; the work is done once, for the first who asks."""
        packed = gzip.compress(self._file.content, LEVEL, mtime=0)
        return packed if len(packed) < WORTH * len(self._file.content) else None


def page_routes(files: Mapping[str, PageFile]) -> list[Route]:
    """Return a route for each file by its URL path; ``/`` is the page itself. No other path leads to a file."""
    return [Route(path, Offered(file).answer, methods=["GET"]) for path, file in files.items()]


def _takes_gzip(header: str) -> bool:
    """Read ``Accept-Encoding`` (RFC 9110, 12.5.3)."""
    weights = {
        coding.strip(): weight for coding, _, weight in (part.partition(";") for part in header.lower().split(","))
    }
    weight = weights.get("gzip", weights.get("*"))
    return weight is not None and NOT_WANTED.fullmatch(weight.strip()) is None
