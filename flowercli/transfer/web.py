"""``http`` and ``https`` as the source of a transfer, with the proxies and certificates of the system.

Where a server leads is followed never to less safety, never with a secret to another host, never to another file.
"""

from __future__ import annotations

import http.client
import io
import re
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from flowercli import __version__
from flowercli.errors import DownloadError, UsageError, WrongContentError
from flowercli.transfer import faults
from flowercli.transfer.clock import Clock
from flowercli.transfer.contract import Headers, Request, TemporaryFault, shown
from flowercli.transfer.faults import MIRROR

# Large, as each one costs a call of the system and a turn of Python's lock; what arrives is smaller anyway.
CHUNK = 2**20
# Lengths of twenty digits and more are none, and int() refuses those of thousands.
CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,19})-[0-9]{1,19}|\*)/([0-9]{1,19}|\*)")
LENGTH = re.compile(r"[0-9]{1,19}")
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
UNKNOWN = -1

SECRET = "Authorization"  # noqa: S105  (the name of a header)
PORTS = {"http": 80, "https": 443}


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections as far as they can be trusted."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def http_error_302(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Go where an answer leads, without its body, of which ``urllib`` would read whatever is sent.

        Raises:
            DownloadError: that is no address.
        """
        fp.close()
        try:
            return super().http_error_302(req, io.BytesIO(), code, msg, headers)
        except (ValueError, OverflowError, http.client.InvalidURL) as error:
            message = f"{shown(req.full_url)} redirects to what is no address: {error}."
            raise DownloadError(message, hint=MIRROR) from error

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        """Return the request to make next.

        Raises:
            DownloadError: it leads from ``https`` to ``http``, or to neither.
            WrongContentError: it says that the file is another one.
        """
        scheme = urlsplit(newurl).scheme
        if scheme not in PORTS or (req.type == "https" and scheme == "http"):
            message = f"{shown(req.full_url)} redirects to an address that is less safe, {shown(newurl)}."
            raise DownloadError(message, hint="Give that address yourself if you trust it, with --url and --sha256.")
        check_stated(self._request, headers)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and not _same_place(req.full_url, newurl):
            following.remove_header(SECRET)
        return following


def check_stated(request: Request, headers: Headers) -> None:
    """Compare what an answer says about the file with what is known.

    Raises:
        WrongContentError: it is another file.
    """
    for name, value in request.stated.items():
        found = headers.get(name) or ""
        found = found.strip().removeprefix("W/").strip('"')
        # A mirror may name files in its own way: only a name of the same kind says something.
        if len(found) == len(value) and found != value:
            message = f"{request.name}: the server has another version, {name} {found} instead of {value}."
            raise WrongContentError(message, hint="Check the address, and whether a mirror is current.")


def _same_place(before: str, after: str) -> bool:
    """Whether two addresses are of one server, of which the second may be the encrypted side."""
    first, second = urlsplit(before), urlsplit(after)
    ports = [parts.port or PORTS.get(parts.scheme) for parts in (first, second)]
    upgraded = ports == [PORTS["http"], PORTS["https"]] and (first.scheme, second.scheme) == ("http", "https")
    return first.hostname == second.hostname and ((first.scheme == second.scheme and ports[0] == ports[1]) or upgraded)


class WebStream:
    """The body of an answer; its bytes come at the least rate of the patience, or not at all."""

    def __init__(
        self, response: http.client.HTTPResponse, request: Request, clock: Clock, offset: int, total: int | None
    ) -> None:
        self._response = response
        self._request = request
        self._clock = clock
        self._arrived = 0
        self.offset = offset
        self.total = total
        self.validator = validator_of(response.headers)

    def read(self) -> bytes:
        """Return what has arrived.

        Raises:
            TemporaryFault: the connection broke, or hardly anything comes.
        """
        try:
            # Not read(): that waits until so much has arrived, and a killed process would lose it.
            chunk = self._response.read1(CHUNK)
            self._clock.check()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _fault(error, self._request, self._clock) from error
        self._arrived += len(chunk)
        if self._arrived >= self._request.patience.least:
            self._arrived = 0
            self._clock.give(self._request.patience.span)
        return chunk

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._clock.stop()


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
    with ExitStack() as stack:
        clock = stack.enter_context(Clock(request.patience.span))
        try:
            response = _ask(request, clock)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != RANGE_NOT_SATISFIABLE or not request.offset:
                    raise faults.from_status(error, request) from error
                there = _content_range(error.headers)
            # Nothing from the offset on: all is there, or the file has become shorter.
            all_there = there is not None and there[2] == str(request.offset)
            return EmptyStream(request.offset, None) if all_there else _from_the_beginning(request)
        except (OSError, http.client.HTTPException) as error:
            raise _fault(error, request, clock) from error
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{request.name} is not an address that can be fetched: {error}.") from error
        stack.callback(response.close)
        start, total = _position(response, request)
        stream = WebStream(response, request, clock, start, total)
        changed = start and request.validator and stream.validator and stream.validator != request.validator
        if start == 0 or (start == request.offset and not changed):
            stack.pop_all()
            return stream
    # A server that minds neither If-Range nor the range itself.
    return _from_the_beginning(request)


def validator_of(headers: Headers) -> str | None:
    """Return what an ``If-Range`` may hold: a strong ETag, or else the date of the last change."""
    etag: str | None = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return headers.get("Last-Modified")


def _from_the_beginning(request: Request) -> WebStream | EmptyStream:
    """Ask for the whole file, unless that is what the server was asked for."""
    if not request.offset:
        message = f"{urlsplit(request.url).hostname} sends a part of {request.name}, and was asked for the whole."
        raise DownloadError(message, hint=faults.MIRROR)
    return open_stream(replace(request, offset=0, validator=None))


def _fault(error: Exception, request: Request, clock: Clock) -> DownloadError | TemporaryFault:
    """Return what an error means: that of a connection which was shut down is any."""
    try:
        clock.check()
    except OSError as late:
        error = late
    return faults.from_exception(error, request.name, request.url)


def _ask(request: Request, clock: Clock) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"flowers/{__version__}", **request.headers, "Accept-Encoding": "identity"}
    if request.offset:
        headers["Range"] = f"bytes={request.offset}-"
        if request.validator:
            headers["If-Range"] = request.validator
    # Made anew each time: the proxy may have changed since the last try.
    opener = urllib.request.build_opener(Redirects(request), *clock.handlers())
    question = urllib.request.Request(request.url, headers=headers)  # noqa: S310  (fetch allows http and https only)
    response: http.client.HTTPResponse = opener.open(question, timeout=request.patience.timeout)
    try:
        check_stated(request, response.headers)
    except BaseException:
        response.close()
        raise
    return response


def _position(response: http.client.HTTPResponse, request: Request) -> tuple[int, int | None]:
    """Return where the body starts, and how long the whole file is.

    Raises:
        DownloadError: the server states a length that is none.
    """
    if response.status == PARTIAL_CONTENT:
        found = _content_range(response.headers)
        if not found or not found[1]:
            return UNKNOWN, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length")
    if length is None:
        return 0, None
    if not LENGTH.fullmatch(length.strip()):
        message = f"{urlsplit(request.url).hostname} states a length of {request.name} that is none."
        raise DownloadError(message, hint=faults.MIRROR)
    return 0, int(length)


def _content_range(headers: Headers) -> re.Match[str] | None:
    return CONTENT_RANGE.fullmatch((headers.get("Content-Range") or "").strip())
