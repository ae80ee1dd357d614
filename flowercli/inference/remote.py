"""Fetch a picture from a URL into memory, with limits."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from flowercli.errors import ImageError

MAX_BYTES = 64 * 2**20
TIMEOUT_SECONDS = 20


def fetch(url: str) -> bytes:
    """Return the body of an ``http`` or ``https`` URL.

    Raises:
        ImageError: it cannot be had within the limits of size and time.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "flowers"})  # noqa: S310  (is_url allows http only)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            body: bytes = response.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()  # It holds the connection.
        raise ImageError("download_failed", f"The server answered {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ImageError("download_failed", f"It cannot be fetched: {reason}.") from error
    if len(body) > MAX_BYTES:
        raise ImageError("too_large", f"It is larger than {MAX_BYTES // 2**20} MiB.")
    return body
