"""``http`` and ``https`` as the source of a transfer, with the proxies and certificates of the system."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowercli import __version__
from flowercli.data.transfer import faults
from flowercli.data.transfer.contract import shown
from flowercli.errors import DownloadError, UsageError

if TYPE_CHECKING:
    from flowercli.data.transfer.contract import Patience

# Large, as each one costs a call of the system and a turn of Python's lock; what arrives is smaller anyway.
CHUNK = 2**20
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
UNKNOWN = -1


class WebStream:
    """The body of an answer."""

    def __init__(self, response: http.client.HTTPResponse, url: str, offset: int, total: int | None) -> None:
        self._response = response
        self._url = url
        self.offset = offset
        self.total = total
        self.validator = validator_of(response.headers)

    def read(self) -> bytes:
        """Return what has arrived.

        Raises:
            TemporaryFault: the connection broke.
        """
        try:
            # Not read(): that waits until so much has arrived, and a killed process would lose it.
            return self._response.read1(CHUNK)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise faults.from_exception(error, self._url) from error

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


class EmptyStream:
    """What is left of a file that is there already."""

    def __init__(self, size: int, validator: str | None) -> None:
        self.offset = size
        self.total: int | None = size
        self.validator = validator

    def read(self) -> bytes:
        """Return nothing."""
        return b""

    def close(self) -> None:
        """Do nothing."""


class NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but none that leaves encryption."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        """Return the request to make next.

        Raises:
            DownloadError: it leads from ``https`` to ``http``, or to neither.
        """
        scheme = urlsplit(newurl).scheme
        if scheme not in {"http", "https"} or (req.type == "https" and scheme == "http"):
            message = f"{shown(req.full_url)} redirects to an address that is less safe, {shown(newurl)}."
            raise DownloadError(message, hint="Give that address yourself if you trust it, with --url and --sha256.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_stream(
    url: str, offset: int, validator: str | None, patience: Patience, *, name: str | None = None
) -> WebStream | EmptyStream:
    """Ask for a file from ``offset`` on, if it is still the one of ``validator``.

    Args:
        url: an ``http`` or ``https`` address.
        offset: how many bytes are there already.
        validator: an ETag or a date, as the server gave it.
        patience: the timeout.
        name: what to call the address in messages.

    Raises:
        DownloadError: it cannot be had.
        TemporaryFault: it could not be had this time.
    """
    called = name or shown(url)
    try:
        response = _ask(url, offset, validator, patience.timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == RANGE_NOT_SATISFIABLE and offset:
                return _after_the_end(error, url, offset, patience, called)
            raise faults.from_status(error, called, patience) from error
    except (OSError, http.client.HTTPException) as error:
        raise faults.from_exception(error, called) from error
    except ValueError as error:
        raise UsageError(f"{called} is not an address that can be fetched: {error}.") from error
    start, total = _position(response)
    stream = WebStream(response, called, start, total)
    if start not in (0, offset) or (start and validator and stream.validator and stream.validator != validator):
        # A server that minds neither If-Range nor the range itself: from the beginning, then.
        stream.close()
        return open_stream(url, 0, None, patience, name=called)
    return stream


def validator_of(headers: Any) -> str | None:
    """Return what an ``If-Range`` may hold: a strong ETag, or else the date of the last change."""
    etag: str | None = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    modified: str | None = headers.get("Last-Modified")
    return modified


def _ask(url: str, offset: int, validator: str | None, timeout: float) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"flowers/{__version__}", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  (fetch allows http and https only)
    # Made anew each time: the proxy may have changed since the last try.
    opener = urllib.request.build_opener(NoDowngrade)
    response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    return response


def _position(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return where the body starts, and how long the whole file is."""
    if response.status == PARTIAL_CONTENT:
        found = CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        if not found or not found[1]:
            return UNKNOWN, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _after_the_end(
    error: urllib.error.HTTPError, url: str, offset: int, patience: Patience, name: str
) -> WebStream | EmptyStream:
    """Answer for a server that has nothing from ``offset`` on: all is there, or the file has become shorter."""
    found = CONTENT_RANGE.match(error.headers.get("Content-Range", ""))
    if found and found[2] == str(offset):
        return EmptyStream(offset, None)
    return open_stream(url, 0, None, patience, name=name)
