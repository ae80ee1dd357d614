"""Where a web server leads: never to less safety, never with a secret to another host, never to another file."""

from __future__ import annotations

import http.client
import io
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowercli.errors import DownloadError, WrongContentError
from flowercli.transfer.contract import shown
from flowercli.transfer.faults import MIRROR

if TYPE_CHECKING:
    from flowercli.transfer.contract import Headers, Request

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
