"""Run DVC in this process: its messages are collected rather than printed; its mistakes, and S3's, come out as ours.

DVC's commands send usage statistics; its Python interface, which is what runs here, sends none.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shlex
import socket
import sqlite3
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import dvc.logger  # noqa: F401  (sets its handlers up, which are put aside here)
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from dvc.exceptions import DvcException
from dvc.lock import LockError

from flowercli.errors import DataError, FlowersError
from flowercli.transfer.faults import causes
from flowercli.transfer.s3_answers import CHECK_ADDRESS, NOT_S3, PLACES, meaning

LOGGERS = ("dvc", "dvc_data", "dvc_objects")
# DVC shows its progress bars unless this logger is silent; ours would be drawn over them.
BARS = "dvc.progress"
# As Git says it, and libgit2.
DUBIOUS = ("dubious ownership", "not owned by current user")
QUOTED = re.compile(r"(?:dubious ownership in repository at|repository path) '([^']+)'")

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


class Collector(logging.Handler):
    """Keeps what DVC logs: the reason of a failed transfer is told nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException] = []
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])
        self.messages.append(record.getMessage())


@contextmanager
def running_dvc(url: str = "the remote") -> Iterator[None]:
    """Run DVC within, silently.

    Args:
        url: of the remote, for messages.

    Raises:
        DataError: DVC or the remote failed, for a reason that is told.
    """
    collector = Collector()
    with _collecting(collector), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About DVC's use of its own dependencies.
        try:
            yield
        except FlowersError:
            raise
        except (DvcException, OSError) as error:
            reasons = [error, *collector.errors]
            raise _explain(error, reasons, collector.messages, url) from error
        except Exception as error:
            if (known := explained([error], url)) is None:
                raise
            raise known from error


def _explain(error: Exception, reasons: list[BaseException], messages: list[str], url: str) -> Exception:
    if isinstance(error, LockError):
        return DataError("Another process is using DVC in this repository.", hint="Wait until it is done, then again.")
    if (known := explained(reasons, url)) is not None:
        return known
    if isinstance(error, OSError) and error.errno is not None:
        return error
    text = " ".join(str(error).split())
    if (untrusted := not_trusted(" ".join([text, *map(str, reasons), *messages]))) is not None:
        return untrusted
    more = f" ({messages[-1].splitlines()[0]})" if messages else ""
    return DataError(f"DVC: {text}{more}")


def not_trusted(said: str, folder: str = "DIR") -> DataError | None:
    """Return what it means that Git, or a library in its place, does not trust whoever owns a repository."""
    if not any(words in said for words in DUBIOUS):
        return None
    if found := QUOTED.search(said):
        folder = found[1]
    message = "Git does nothing in a repository that belongs to another user, and this one does."
    trust = shlex.join(["git", "config", "--global", "--add", "safe.directory", folder])
    return DataError(message, hint=f"If you trust them: {trust}   (otherwise take it over: chown, or clone it)")


@contextmanager
def _collecting(collector: Collector) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before: list[tuple[Any, ...]] = [(log.handlers, log.propagate, log.level) for log in loggers]
    for log in loggers:
        log.handlers, log.propagate = [collector], False
        log.setLevel(logging.WARNING)
    logging.getLogger(BARS).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, (handlers, propagate, level) in zip(loggers, before, strict=True):
            log.handlers, log.propagate = handlers, propagate
            log.setLevel(level)
