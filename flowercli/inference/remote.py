"""Fetch a picture from a URL into memory, with limits."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

from flowercli.errors import ImageError

MAX_BYTES = 64 * 2**20
# For an answer to begin or go on, and for the whole.
PATIENCE_SECONDS = 20
TIMEOUT_SECONDS = 60
CHUNK = 2**18


def fetch(url: str) -> bytes:
    """Return the body of an ``http`` or ``https`` URL.

    Raises:
        ImageError: it cannot be had within the limits of size and time.
    """
    # On a thread of its own: neither headers nor redirections have a limit of time.
    answers: SimpleQueue[bytes | ImageError] = SimpleQueue()
    Thread(target=_fetch_into, args=(answers, url, monotonic() + TIMEOUT_SECONDS), daemon=True).start()
    try:
        answer = answers.get(timeout=TIMEOUT_SECONDS)
    except Empty:
        raise _late() from None
    if isinstance(answer, ImageError):
        raise answer
    return answer


def _fetch_into(answers: SimpleQueue[bytes | ImageError], url: str, ends: float) -> None:
    try:
        answers.put(_fetch(url, ends))
    except ImageError as error:
        answers.put(error)


def _fetch(url: str, ends: float) -> bytes:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "flowers"})  # noqa: S310  (is_url allows http only)
        with urllib.request.build_opener(WebOnly).open(request, timeout=PATIENCE_SECONDS) as response:
            return _body(response, ends)
    except urllib.error.HTTPError as error:
        error.close()  # It holds the connection.
        raise ImageError("download_failed", f"The server answered {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ImageError("download_failed", f"It cannot be fetched: {reason}.") from error


class WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to the web, and never to less safety; urllib would go to FTP, too."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        """Return the request to make next.

        Raises:
            URLError: it would leave the web, or lead from ``https`` to ``http``.
        """
        if not newurl.startswith(("https://", "http://") if req.type == "http" else "https://"):
            fp.close()  # It holds the connection.
            raise urllib.error.URLError(f"it redirects to an address that is less safe, {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _body(response: Any, ends: float) -> bytes:
    announced = response.length  # None without a Content-Length, or with one that is no length.
    if response.status != http.client.OK or (announced is None and "Content-Length" in response.headers):
        raise ImageError("download_failed", "The server does not send the whole of it, or says so in a way of its own.")
    body = bytearray()
    while piece := response.read1(CHUNK):
        body += piece
        if len(body) > MAX_BYTES:
            raise ImageError("too_large", f"It is larger than {MAX_BYTES // 2**20} MiB.")
        if monotonic() > ends:
            raise _late()
    if announced is not None and len(body) < announced:
        raise ImageError("download_failed", f"It ended early, after {len(body)} of {announced} bytes.")
    return bytes(body)


def _late() -> ImageError:
    return ImageError("download_failed", f"It has not come in {TIMEOUT_SECONDS} seconds.")
