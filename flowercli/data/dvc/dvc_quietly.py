"""Run DVC in this process: its messages are collected rather than printed, and its mistakes come out as ours.

DVC's commands send usage statistics; its Python interface, which is what runs here, sends none.
"""

from __future__ import annotations

import logging
import re
import shlex
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dvc.logger  # noqa: F401  (sets its handlers up, which are put aside here)
from dvc.exceptions import DvcException
from dvc.lock import LockError

from flowercli.data.dvc.s3_errors import explained
from flowercli.errors import DataError, FlowersError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGERS = ("dvc", "dvc_data", "dvc_objects")
# DVC shows its progress bars unless this logger is silent; ours would be drawn over them.
BARS = "dvc.progress"
# As Git says it, and libgit2.
DUBIOUS = ("dubious ownership", "not owned by current user")
QUOTED = re.compile(r"(?:dubious ownership in repository at|repository path) '([^']+)'")


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
