"""What an S3 server, or the way to it, says when something is wrong, in words that name the mistake."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
from typing import TYPE_CHECKING

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from flowercli.errors import DataError
from flowercli.transfer.faults import causes
from flowercli.transfer.s3_answers import CHECK_ADDRESS, NOT_S3, PLACES, meaning

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECK_PROXY = "Check HTTPS_PROXY and HTTP_PROXY."
CHECK_TLS = "A certificate of your own: AWS_CA_BUNDLE=FILE.pem. A server without TLS: --endpoint-url http://…"
BAD_ENDPOINT = "Invalid endpoint"  # how botocore's ValueError begins
# What is wrong, with {where} for the remote, and what to do about it.
Meaning = tuple[str, str]


def explained(errors: Iterable[BaseException], where: str) -> DataError | None:
    """Return what the first known one among errors and their causes means, or ``None``.

    Args:
        errors: with their chains of causes.
        where: the remote's address, for the message.
    """
    chain = [cause for error in errors for cause in causes(error)]
    for explain in (_disk, _answer, _credentials, _way):
        for error in chain:
            if (known := explain(error, chain)) is not None:
                message, hint = known
                return DataError(message.replace("{where}", where), hint=hint or None)
    return None


def _disk(error: BaseException, _chain: list[BaseException]) -> Meaning | None:
    database = isinstance(error, sqlite3.OperationalError) and ("I/O" in str(error) or "full" in str(error))
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    if not (database or full):
        return None
    what = getattr(error, "filename", None) or "DVC's cache"
    return f"The disk is full: {what} could not be written.", "Free some space; the command goes on."


def _answer(error: BaseException, _chain: list[BaseException]) -> Meaning | None:
    if not isinstance(error, boto.ClientError):
        return None
    said, status = error.response.get("Error", {}), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code, why = said.get("Code"), said.get("Message", "without a reason")
    return meaning((code, status)) or (f"{{where}} answers {code}: {why}.", "")


def _credentials(error: BaseException, _chain: list[BaseException]) -> Meaning | None:
    if isinstance(error, boto.NoCredentialsError):
        hint = f"Give them in one of: {PLACES}. A public bucket: flowers data pull --anonymous"
        return "There are no credentials for {where}.", hint
    if isinstance(error, boto.ProfileNotFound):
        return f"There is no AWS profile '{os.environ.get('AWS_PROFILE', '')}'.", "See: aws configure list-profiles"
    if isinstance(error, boto.PartialCredentialsError | boto.CredentialRetrievalError | boto.TokenRetrievalError):
        return f"The credentials for {{where}} are incomplete: {error}", f"Check: {PLACES}."
    return None


def _way(error: BaseException, chain: list[BaseException]) -> Meaning | None:
    """Tell what is wrong between here and the server."""
    unknown_name = any(isinstance(cause, socket.gaierror) for cause in chain)
    network = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, ConnectionError, TimeoutError)
    late = (boto.ConnectTimeoutError, boto.ReadTimeoutError, TimeoutError)
    last = " ".join(str(chain[-1]).split())[:200]
    no_address = ("{where} is not a usable address.", CHECK_ADDRESS)
    # The first that fits. A name that is not known is an EndpointConnectionError too.
    table: tuple[tuple[bool | tuple[type[BaseException], ...], str, str], ...] = (
        ((boto.ProxyConnectionError,), "The proxy on the way to {where} does not answer.", CHECK_PROXY),
        ((boto.SSLError,), f"There is no trusted TLS connection to {{where}}: {last}", CHECK_TLS),
        ((ResponseParserError,), *NOT_S3),
        ((boto.InvalidRegionError, boto.ParamValidationError), *no_address),
        (str(error).startswith(BAD_ENDPOINT), *no_address),
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
            return message, hint
    return None
