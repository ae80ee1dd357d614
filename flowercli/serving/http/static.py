"""The page at ``/``: its files, fixed when the service starts, with headers that keep it from asking anybody else."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

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


class StaticFile(Protocol):
    """The bytes of one file, and the value of its ``Content-Type``."""

    @property
    def content(self) -> bytes:
        """The bytes."""

    @property
    def media_type(self) -> str:
        """The type, with its charset."""


def page_routes(files: Mapping[str, StaticFile]) -> list[Route]:
    """Return a route for each file by its URL path; ``/`` is the page itself. No other path leads to a file."""
    return [_route(path, file) for path, file in files.items()]


def _route(path: str, file: StaticFile) -> Route:
    headers = {**HEADERS, "ETag": f'"{hashlib.sha256(file.content).hexdigest()[:32]}"'}

    async def give(request: Request) -> Response:
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.media_type)

    return Route(path, give, methods=["GET"])
