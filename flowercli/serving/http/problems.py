"""What goes wrong with a request, in the one form that all errors have: RFC 9457's ``application/problem+json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from flowercli.errors import ImageError

MEDIA_TYPE = "application/problem+json"
# No more of what a decoder or a client said is repeated.
MAX_DETAIL = 300
TOO_LARGE = "too_large"


class Problem(Exception):  # noqa: N818  (RFC 9457's word)
    """An answer that is an error.

    Args:
        status: the HTTP status.
        code: stable, for programs.
        detail: one sentence for people.
        headers: to send with it.
    """

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail[:MAX_DETAIL]
        self.headers = dict(headers or {})

    def as_dict(self) -> dict[str, Any]:
        """Return the members of the problem; ``error`` is where clients of the Open Inference Protocol look."""
        title = HTTPStatus(self.status).phrase
        return {
            "type": "about:blank", "title": title, "status": self.status, "code": self.code, "detail": self.detail,
            "error": self.detail,
        }  # fmt: skip

    def response(self) -> Response:
        """Return it as a response."""
        body = json.dumps(self.as_dict(), ensure_ascii=False).encode(errors="replace")
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def busy(status: int, code: str, detail: str, seconds: float) -> Problem:
    """Return a problem that is over after some seconds."""
    return Problem(status, code, detail, {"Retry-After": str(max(1, round(seconds)))})


def bad_picture(error: ImageError, place: int | None = None) -> Problem:
    """Return the problem that a picture which cannot be read is, alone or in its place among several."""
    where = "" if place is None else f"Picture {place}: "
    return Problem(413 if error.code == TOO_LARGE else 422, error.code, where + error.message)


def too_many_images(count: int, limit: int) -> Problem:
    """Return the problem of a request with too many pictures."""
    return Problem(422, "too_many_images", f"{count} pictures in one request: at most {limit}.")
