"""What an S3 server, or the way to it, says when something is wrong, in words that name the mistake."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from flowercli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLACES = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, ~/.aws/credentials, or an instance role"
CHECK_ADDRESS = "Check the address: flowers data init --remote s3://BUCKET/PREFIX --endpoint-url URL"
CHECK_PROXY = "Check HTTPS_PROXY and HTTP_PROXY."
CHECK_TLS = "A certificate of your own: AWS_CA_BUNDLE=FILE.pem. A server without TLS: --endpoint-url http://…"
BAD_ENDPOINT = "Invalid endpoint"  # how botocore's ValueError begins
# Code of the server's answer: what is wrong, and what to do. {where} is the remote.
ANSWERS = {
    "NoSuchBucket": ("There is no such bucket: {where}.", f"Make it, or correct its name. {CHECK_ADDRESS}"),
    "AccessDenied": (
        "Access to {where} is denied: the bucket is private, and these credentials may not use it.",
        "Ask its owner for s3:ListBucket, s3:GetObject and s3:PutObject, or choose other credentials: AWS_PROFILE=NAME",
    ),
    "InvalidAccessKeyId": (
        "{where} does not know the access key: it belongs to another server, or was deleted.",
        f"Check the credentials ({PLACES}) and the endpoint.",
    ),
    "SignatureDoesNotMatch": (
        "{where} refuses the secret key: it does not belong to the access key.",
        f"Check the credentials: {PLACES}.",
    ),
    "ExpiredToken": ("The credentials for {where} have expired.", "Log in again, for example: aws sso login"),
    "RequestTimeTooSkewed": ("{where} refuses the request: this machine's clock is wrong.", "Set the clock."),
    "PermanentRedirect": (
        "{where} is in another region than the one that was asked.",
        "Set the region: AWS_REGION=REGION, or dvc remote modify REMOTE region REGION",
    ),
    "SlowDown": ("{where} is overloaded and asks to slow down.", "Run the command again later: it goes on."),
    "InternalError": ("{where} failed inside: it is the server's fault.", "Run the command again later: it goes on."),
    # botocore makes a 500 of an answer that it cannot read, such as the web page of the server's console.
    "Unclear": (
        "{where} does not answer as an S3 server does: it is none, or it fails inside.",
        f"A server's web page often has another port than its S3. {CHECK_ADDRESS}",
    ),
    "NotS3": ("{where}: what answers there is not an S3 server.", CHECK_ADDRESS),
}
# Other codes for the same, and HTTP's numbers, which are all that the answer to a HEAD request has.
SAME = {
    "AllAccessDisabled": "AccessDenied",
    "403": "AccessDenied",
    "InvalidToken": "InvalidAccessKeyId",
    "InvalidClientTokenId": "InvalidAccessKeyId",
    "TokenRefreshRequired": "ExpiredToken",
    "ExpiredTokenException": "ExpiredToken",
    "AuthorizationHeaderMalformed": "PermanentRedirect",
    "IllegalLocationConstraintException": "PermanentRedirect",
    "301": "PermanentRedirect",
    "ServiceUnavailable": "SlowDown",
    "429": "SlowDown",
    "TooManyRequests": "SlowDown",
    "503": "SlowDown",
    "500": "Unclear",
    "502": "InternalError",
    "504": "InternalError",
    "404": "NotS3",
    "405": "NotS3",
    "501": "NotS3",
    "NotImplemented": "NotS3",
    "MethodNotAllowed": "NotS3",
    "200": "NotS3",
}


def explained(errors: Iterable[BaseException], where: str) -> DataError | None:
    """Return what the first known one among errors and their causes means, or ``None``.

    Args:
        errors: with their chains of causes.
        where: the remote's address, for the message.
    """
    chain = [cause for error in errors for cause in _causes(error)]
    for explain in (_disk, _answer, _credentials, _way):
        for error in chain:
            if (known := explain(error, where, chain)) is not None:
                return known
    return None


def _disk(error: BaseException, _where: str, _chain: list[BaseException]) -> DataError | None:
    database = isinstance(error, sqlite3.OperationalError) and ("I/O" in str(error) or "full" in str(error))
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    if not (database or full):
        return None
    what = getattr(error, "filename", None) or "DVC's cache"
    return DataError(f"The disk is full: {what} could not be written.", hint="Free some space; the command goes on.")


def _answer(error: BaseException, where: str, _chain: list[BaseException]) -> DataError | None:
    if not isinstance(error, boto.ClientError):
        return None
    said = error.response.get("Error", {})
    code = str(said.get("Code"))
    known = ANSWERS.get(SAME.get(code, code))
    if known is None:
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        known = ANSWERS.get(SAME.get(status, ""))
    if known is None:
        return DataError(f"{where} answers {code}: {said.get('Message', 'without a reason')}.")
    message, hint = known
    return DataError(message.replace("{where}", where), hint=hint)


def _credentials(error: BaseException, where: str, _chain: list[BaseException]) -> DataError | None:
    if isinstance(error, boto.NoCredentialsError):
        hint = f"Give them in one of: {PLACES}. A public bucket: flowers data pull --anonymous"
        return DataError(f"There are no credentials for {where}.", hint=hint)
    if isinstance(error, boto.ProfileNotFound):
        name = os.environ.get("AWS_PROFILE", "")
        return DataError(f"There is no AWS profile '{name}'.", hint="See: aws configure list-profiles")
    if isinstance(error, boto.PartialCredentialsError | boto.CredentialRetrievalError | boto.TokenRetrievalError):
        return DataError(f"The credentials for {where} are incomplete: {error}", hint=f"Check: {PLACES}.")
    return None


def _way(error: BaseException, where: str, chain: list[BaseException]) -> DataError | None:
    """Tell what is wrong between here and the server."""
    unknown_name = any(isinstance(cause, socket.gaierror) for cause in chain)
    network = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, ConnectionError, TimeoutError)
    late = (boto.ConnectTimeoutError, boto.ReadTimeoutError, TimeoutError)
    # The first that fits. A name that is not known is an EndpointConnectionError too.
    table: tuple[tuple[bool | tuple[type[BaseException], ...], str, str], ...] = (
        ((boto.ProxyConnectionError,), "The proxy on the way to {where} does not answer.", CHECK_PROXY),
        ((boto.SSLError,), "There is no trusted TLS connection to {where}: " + _last(chain), CHECK_TLS),
        ((ResponseParserError,), *ANSWERS["NotS3"]),
        ((boto.InvalidRegionError, boto.ParamValidationError), "{where} is not a usable address.", CHECK_ADDRESS),
        (str(error).startswith(BAD_ENDPOINT), "{where} is not a usable address.", CHECK_ADDRESS),
        (
            unknown_name and isinstance(error, network),
            "The name of {where} is not known: no network, or no such server.",
            CHECK_ADDRESS,
        ),
        (late, "{where} does not answer in time.", "Check the network, and run the command again: it goes on."),
        ((boto.EndpointConnectionError, ConnectionRefusedError), "Nothing answers at {where}.", CHECK_ADDRESS),
        (network, "The connection to {where} was cut.", "Run the command again: it goes on where it was."),
    )
    for fits, message, hint in table:
        if isinstance(error, fits) if isinstance(fits, tuple) else fits:
            return DataError(message.replace("{where}", where), hint=hint)
    return None


def _last(chain: list[Any]) -> str:
    return " ".join(str(chain[-1]).split())[:200]


def _causes(error: BaseException) -> Iterator[BaseException]:
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
