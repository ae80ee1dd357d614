"""Fetch a picture from a URL into memory, with limits."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Any

from flowercli.errors import DownloadError, ImageError
from flowercli.transfer.clock import Clock
from flowercli.transfer.contract import Patience, Request
from flowercli.transfer.web import Redirects

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
    with Clock(TIMEOUT_SECONDS) as clock:
        try:
            return _fetch(url, clock)
        except ImageError as error:
            # A connection that was shut down looks like one that broke, or came to its end.
            if clock.out:
                raise ImageError("download_failed", f"It has not come in {TIMEOUT_SECONDS} seconds.") from error
            raise


def _fetch(url: str, clock: Clock) -> bytes:
    redirects = Redirects(Request(url, 0, None, Patience(), url))
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "flowers"})  # noqa: S310  (is_url allows http only)
        opener = urllib.request.build_opener(redirects, *clock.handlers())
        with opener.open(request, timeout=PATIENCE_SECONDS) as response:
            return _body(response, clock)
    except urllib.error.HTTPError as error:
        error.close()  # It holds the connection.
        raise ImageError("download_failed", f"The server answered {error.code} {error.reason}.") from error
    except DownloadError as error:
        raise ImageError("download_failed", f"It cannot be fetched: {error.message}") from error
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        reason = getattr(error, "reason", error)
        raise ImageError("download_failed", f"It cannot be fetched: {reason}.") from error


def _body(response: Any, clock: Clock) -> bytes:
    announced = response.length  # None without a Content-Length, or with one that is no length.
    if response.status != http.client.OK or (announced is None and "Content-Length" in response.headers):
        raise ImageError("download_failed", "The server does not send the whole of it, or says so in a way of its own.")
    body = bytearray()
    while piece := response.read1(CHUNK):
        body += piece
        if len(body) > MAX_BYTES:
            raise ImageError("too_large", f"It is larger than {MAX_BYTES // 2**20} MiB.")
    clock.check()
    if announced is not None and len(body) < announced:
        raise ImageError("download_failed", f"It ended early, after {len(body)} of {announced} bytes.")
    return bytes(body)
