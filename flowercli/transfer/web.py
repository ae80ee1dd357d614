"""``http`` and ``https`` as the source of a transfer, with the proxies and certificates of the system."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

from flowercli import __version__
from flowercli.errors import UsageError
from flowercli.transfer import faults
from flowercli.transfer.redirects import Redirects, check_stated

if TYPE_CHECKING:
    from flowercli.transfer.contract import Headers, Request

# Large, as each one costs a call of the system and a turn of Python's lock; what arrives is smaller anyway.
CHUNK = 2**20
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
UNKNOWN = -1


class WebStream:
    """The body of an answer."""

    def __init__(self, response: http.client.HTTPResponse, request: Request, offset: int, total: int | None) -> None:
        self._response = response
        self._request = request
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
            raise faults.from_exception(error, self._request.name, self._request.url) from error

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


def open_stream(request: Request) -> WebStream | EmptyStream:
    """Ask for a file.

    Raises:
        DownloadError: it cannot be had.
        WrongContentError: the server says that it is another one.
        TemporaryFault: it could not be had this time.
    """
    try:
        response = _ask(request)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == RANGE_NOT_SATISFIABLE and request.offset:
                return _after_the_end(error, request)
            raise faults.from_status(error, request) from error
    except (OSError, http.client.HTTPException) as error:
        raise faults.from_exception(error, request.name, request.url) from error
    except ValueError as error:
        raise UsageError(f"{request.name} is not an address that can be fetched: {error}.") from error
    start, total = _position(response)
    stream = WebStream(response, request, start, total)
    changed = start and request.validator and stream.validator and stream.validator != request.validator
    if start not in (0, request.offset) or changed:
        # A server that minds neither If-Range nor the range itself: from the beginning, then.
        stream.close()
        return open_stream(replace(request, offset=0, validator=None))
    return stream


def validator_of(headers: Headers) -> str | None:
    """Return what an ``If-Range`` may hold: a strong ETag, or else the date of the last change."""
    etag: str | None = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    modified: str | None = headers.get("Last-Modified")
    return modified


def _ask(request: Request) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"flowers/{__version__}", **request.headers, "Accept-Encoding": "identity"}
    if request.offset:
        headers["Range"] = f"bytes={request.offset}-"
        if request.validator:
            headers["If-Range"] = request.validator
    # Made anew each time: the proxy may have changed since the last try.
    opener = urllib.request.build_opener(Redirects(request))
    question = urllib.request.Request(request.url, headers=headers)  # noqa: S310  (fetch allows http and https only)
    response: http.client.HTTPResponse = opener.open(question, timeout=request.patience.timeout)
    try:
        check_stated(request, response.headers)
    except BaseException:
        response.close()
        raise
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


def _after_the_end(error: urllib.error.HTTPError, request: Request) -> WebStream | EmptyStream:
    """Answer for a server that has nothing from the offset on: all is there, or the file has become shorter."""
    found = CONTENT_RANGE.match(error.headers.get("Content-Range", ""))
    if found and found[2] == str(request.offset):
        return EmptyStream(request.offset, None)
    return open_stream(replace(request, offset=0, validator=None))
