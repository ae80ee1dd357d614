"""From what goes wrong on the way to a message that says what it is and what to do."""

from __future__ import annotations

import email.utils
import errno
import http.client
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from flowercli.errors import DownloadError
from flowercli.transfer.clock import TooSlowError
from flowercli.transfer.contract import Request, TemporaryFault
from flowercli.transfer.s3_answers import meaning

AGAIN = "The same command goes on from where this one stopped."
MIRROR = "Tell whoever offers the file, or name a mirror: --url URL"
ELSEWHERE = "FLOWERS_HOME=DIR, or for a dataset --output DIR"
BY_HAND = "Fetch it with a tool that can log in, then: flowers download dataset PATH --sha256 HEX"
# What the answers mean that no further try would change.
STATUS_MESSAGES = {
    401: ("asks for a login", BY_HAND),
    403: ("refuses access: the file is private, or the link has expired", BY_HAND),
    404: ("has no such file", "Check the address, or name a mirror: --url URL"),
    407: ("is behind a proxy that asks for a login", "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
    410: ("has this file no longer", "Name a mirror: --url URL"),
}
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
TOO_MANY_REQUESTS = 429
SERVER_FAILED = 500
PROXY_LOGIN = 407
# Seconds, thirty years: what is longer cannot be told as a time of day everywhere.
LONGEST_ASKED = 1e9
A_DAY = 86400
# S3 says in the body what its status leaves open.
S3_CODE = re.compile(rb"<Code>(\w+)</Code>")
NO_NETWORK = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})
DISK = {
    errno.ENOSPC: (
        "The disk is full",
        f"Free some space (flowers download --remove NAME), or use another disk: {ELSEWHERE}. {AGAIN}",
    ),
    errno.EDQUOT: ("Your disk quota is used up", f"Free some of it. {AGAIN}"),
    errno.EFBIG: ("The file grows larger than is allowed here", f"Choose another file system: {ELSEWHERE}"),
    errno.EACCES: ("This folder cannot be written to", f"Choose another: {ELSEWHERE}"),
    errno.EPERM: ("This folder cannot be written to", f"Choose another: {ELSEWHERE}"),
    errno.ENOTDIR: ("A folder on the way is a file", f"Choose another: {ELSEWHERE}"),
    errno.EEXIST: ("A folder on the way is a file", f"Choose another: {ELSEWHERE}"),
    errno.EROFS: ("This folder is read-only", f"Choose another: {ELSEWHERE}"),
}


def from_status(answer: urllib.error.HTTPError, request: Request) -> DownloadError | TemporaryFault:
    """Return the fault of an answer that is none."""
    name = request.name
    host, status = urlsplit(request.url).netloc, f"{answer.code} {answer.reason}".strip()
    told = request.explain(answer.code, answer.headers, urlsplit(answer.url).path) if request.explain else None
    if answer.code in TEMPORARY:
        fault = told or DownloadError(f"{host} {_temporarily(answer.code)} ({status}): {name}", hint=AGAIN)
        return _temporary(answer, fault, request)
    if name.startswith("s3:") and (known := meaning([_s3_code(answer)])):
        text, hint = known
        return DownloadError(text.replace("{where}", name), hint=hint)
    text, hint = STATUS_MESSAGES.get(answer.code, ("does not give this file", "Check the address."))
    return told or DownloadError(f"{host} {text} ({status}): {name}", hint=hint)


def from_exception(error: BaseException, name: str, url: str) -> DownloadError | TemporaryFault:
    """Return the fault of a connection to a URL that was not made, or broke; ``name`` is that of the file."""
    reason = getattr(error, "reason", error)
    if not isinstance(reason, BaseException):
        reason = error
    parts = urlsplit(url)
    host = parts.hostname or url
    proxy = _proxy(parts.scheme, host)
    if "407" in str(reason) and "Tunnel" in str(reason):
        text, hint = STATUS_MESSAGES[PROXY_LOGIN]
        return DownloadError(f"{host} {text}: {proxy}", hint=hint)
    if isinstance(reason, ssl.SSLCertVerificationError):
        message = f"The certificate of {host} is not valid here: {reason.verify_message}."
        return DownloadError(message, hint="Behind a proxy with its own certificate: SSL_CERT_FILE=FILE.pem")
    if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
        return DownloadError(
            f"No encrypted connection with {host}: {reason.reason or reason}.", hint="Check the address."
        )
    fault = _connection(reason, host, proxy, name)
    # A name that does not exist will not a second later; everything else may be a moment's trouble.
    unknown_name = isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN
    return fault if unknown_name else TemporaryFault(fault)


def from_disk(error: OSError) -> DownloadError:
    """Return the fault of a file that cannot be written."""
    text, hint = DISK[error.errno or 0]
    return DownloadError(f"{text}: {error.filename or 'while writing'}.", hint=hint)


def is_disk_fault(error: OSError) -> bool:
    """Tell whether this is about the disk, and known."""
    return error.errno in DISK


def cut(name: str, url: str, done: int, total: int) -> TemporaryFault:
    """Return the fault of a connection that ended early."""
    message = f"The connection to {urlsplit(url).hostname or name} was cut after {done} of {total} bytes."
    return TemporaryFault(DownloadError(message, hint=AGAIN))


def _connection(reason: BaseException, host: str, proxy: str | None, name: str) -> DownloadError:
    through = f"The proxy {proxy}" if proxy else host
    hint = "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY." if proxy else AGAIN
    if isinstance(reason, socket.gaierror):
        unknown = urlsplit(proxy).hostname if proxy else host
        message = f"The name {unknown} cannot be looked up ({reason.strerror})."
        return DownloadError(message, hint="Check the network and the address." if not proxy else hint)
    if getattr(reason, "errno", None) in NO_NETWORK:
        return DownloadError(f"No network: {host} cannot be reached.", hint=AGAIN)
    if isinstance(reason, ConnectionRefusedError):
        return DownloadError(
            f"{through} refuses connections.", hint=hint if proxy else "Check the address and the port."
        )
    if isinstance(reason, TimeoutError):
        says = "sends too slowly" if isinstance(reason, TooSlowError) else "does not answer"
        return DownloadError(f"{through} {says}.", hint=hint)
    if isinstance(reason, (ConnectionError, http.client.HTTPException, ssl.SSLEOFError)):
        return DownloadError(f"The connection to {host} was cut.", hint=AGAIN)
    return DownloadError(f"{name} cannot be fetched: {reason}.", hint=hint)


def _temporary(
    answer: urllib.error.HTTPError, fault: DownloadError, request: Request
) -> DownloadError | TemporaryFault:
    after = retry_after(answer.headers.get("Retry-After"))
    if after is not None and after > request.patience.longest_wait:
        when = time.strftime("%H:%M" if after < A_DAY else "%Y-%m-%d", time.localtime(time.time() + after))
        message = f"{fault.message.rstrip('.')}; {urlsplit(request.url).hostname} asks to wait {after:.0f} s."
        return DownloadError(message, hint=f"Run the same command after {when}.")
    return TemporaryFault(fault, after)


def _temporarily(status: int) -> str:
    if status == TOO_MANY_REQUESTS:
        return "gets too many requests"
    return "fails" if status >= SERVER_FAILED else "gave up waiting"


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a header asks to wait: a number, or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), LONGEST_ASKED)
    try:
        return max(0.0, min(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), LONGEST_ASKED))
    except (ValueError, TypeError, ArithmeticError, OSError):  # Years and zones that no calendar has.
        return None


def _s3_code(answer: urllib.error.HTTPError) -> str | None:
    try:
        found = S3_CODE.search(answer.read(4096))
    except (OSError, http.client.HTTPException):  # It said what failed, and not why.
        return None
    return found[1].decode() if found else None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was raised from or during; botocore keeps the cause in ``kwargs``."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        following = waiting.pop(0)
        if following is None or id(following) in seen:
            continue
        seen.add(id(following))
        yield following
        inner = getattr(following, "kwargs", {}).get("error")
        waiting += [following.__cause__, following.__context__, inner if isinstance(inner, BaseException) else None]


def _proxy(scheme: str, host: str) -> str | None:
    """Return the proxy that requests to a host go through, without its password."""
    address = urllib.request.getproxies().get(scheme)
    if not address or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(address if "//" in address else f"//{address}")
    return f"{parts.scheme or 'http'}://{parts.hostname}:{parts.port}" if parts.port else parts.hostname


@contextmanager
def disk_faults() -> Iterator[None]:
    """Turn the errors of a disk that is full or read-only into messages.

    Raises:
        DownloadError: in their place.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_fault(error):
            raise
        raise from_disk(error) from error


def check_space(folder: Path, needed: float) -> None:
    """Compare the bytes that are needed with those that are free.

    Raises:
        DownloadError: there are too few.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"The disk has {free / 1e6:.1f} MB free, and {needed / 1e6:.1f} MB are needed: {folder}"
        raise DownloadError(message, hint=DISK[errno.ENOSPC][1])
