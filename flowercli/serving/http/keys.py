"""Let only those in who have the key, where the service has one."""

from __future__ import annotations

import hmac
from collections.abc import Container
from typing import TYPE_CHECKING

from flowercli.serving.http.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# Probes have no key.
OPEN_ROUTES = frozenset({"/v2/health/live", "/v2/health/ready"})
NO_KEY = Problem(
    401,
    "no_key",
    "Send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.",
    {"WWW-Authenticate": 'Bearer realm="flowers"'},
)


class KeyCheck:
    """Answers 401 to whoever has no key.

    Args:
        app: what is behind it.
        key: the key.
        page: the paths of the page, which holds nothing secret and whose files a browser fetches without a key.
    """

    def __init__(self, app: ASGIApp, key: str, page: Container[str]) -> None:
        self._app = app
        self._key = key.encode()
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and not self._may_pass(scope):
            await NO_KEY.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        if scope["path"] in OPEN_ROUTES or scope["path"] in self._page:
            return True
        given = [key for name, value in scope["headers"] if (key := _given_key(name, value)) is not None]
        # Each of them is compared, in the same time whatever it is.
        right = [hmac.compare_digest(key, self._key) for key in given]
        return bool(right) and all(right)


def _given_key(name: bytes, value: bytes) -> bytes | None:
    """Return the key that a header holds, if it is one for keys."""
    if name == b"authorization":
        scheme, _, key = value.partition(b" ")
        return key.strip() if scheme.lower() == b"bearer" else b""
    return value if name == b"x-api-key" else None
