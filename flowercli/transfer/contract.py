"""What the parts of a transfer agree on: what is wanted, how it is asked and how often, what it gives, who is told."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from flowercli.errors import DownloadError


# Given the status, the headers and the path of an answer that is a refusal: what it means, or ``None`` for the usual.
Explain = Callable[[int, "Headers", str], "DownloadError | None"]

FIRST_DELAY_SECONDS = 0.25


class Headers(Protocol):
    """The headers of an answer, of whatever library."""

    def get(self, name: str, /) -> str | None:
        """Return the value of one, whatever the case of its name."""


class Stream(Protocol):
    """The bytes of a source from some position on.

    ``offset`` is where they start in the file: 0 where the source cannot, or should not, go on from the position
    that was asked for. ``total`` is the length of the whole file, ``validator`` what changes when the file does;
    both ``None`` where the source does not say.
    """

    offset: int
    total: int | None
    validator: str | None

    def read(self) -> bytes:
        """Return what has arrived, at most 1 MiB; nothing at the end."""

    def close(self) -> None:
        """Let go of the connection."""


class Listener(Protocol):
    """Who is told how a transfer goes on."""

    def waiting(self) -> None:
        """Another process is fetching the same file."""

    def begin(self, done: int, total: int | None) -> None:
        """Bytes start to arrive, after the ``done`` that are there already."""

    def advance(self, count: int) -> None:
        """So many bytes were written."""

    def retry(self, fault: DownloadError, seconds: float) -> None:
        """It will be tried again after so many seconds."""


class FilesListener(Listener, Protocol):
    """Who is told how several files arrive, one after the other."""

    def fetching(self, name: str) -> None:
        """The next file comes."""

    def fetched(self, file: Fetched) -> None:
        """A file is there."""


@dataclass(frozen=True)
class Request:
    """One question to a source: the bytes of ``url`` from ``offset`` on, if it is still the file of ``validator``.

    Attributes:
        patience: the timeout.
        name: what to call the source in messages.
        headers: for a web server; ``Authorization`` goes to no other host, wherever this one leads.
        stated: headers that must have these values wherever an answer, or a redirection before it, has them.
        explain: what a refusal means, where the source has more to say than its status.
    """

    url: str
    offset: int
    validator: str | None
    patience: Patience
    name: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    stated: Mapping[str, str] = field(default_factory=dict)
    explain: Explain | None = None


Opener = Callable[[Request], Stream]


@dataclass(frozen=True)
class Wanted:
    """A file to fetch, with what is known of it.

    Attributes:
        url: where it is; for messages and for the index where there is an ``opener``.
        size: its length in bytes.
        sha256, md5: in hexadecimal.
        opener: opens a source of a kind of its own, or one whose URL changes while the file does not.
        called: its name in messages; by default the URL without its query.
        headers, stated, explain: see ``Request``.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    opener: Opener | None = None
    called: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    stated: Mapping[str, str] = field(default_factory=dict)
    explain: Explain | None = None

    @property
    def verified_by(self) -> str:
        """The kind of hash that tells whether it is the right one."""
        return "sha256" if self.sha256 else "MD5" if self.md5 else ""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.called or shown(self.url)

    def request(self, offset: int, validator: str | None, patience: Patience) -> Request:
        """Return the question for what is missing."""
        return Request(self.url, offset, validator, patience, self.name, self.headers, self.stated, self.explain)


@dataclass(frozen=True)
class Fetched:
    """A file that is there.

    ``size`` and ``sha256`` are its own, ``received`` counts the bytes that had to be fetched now, and ``verified_by``
    is the kind of hash that was known before: ``""`` where none was.
    """

    path: Path
    size: int
    sha256: str
    received: int
    verified_by: str


def shown(url: str) -> str:
    """Return a URL for messages and for the index: without its query, which may hold a signature."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="", fragment=""))


class TemporaryFault(Exception):  # noqa: N818  (carries the error that is raised in the end)
    """Something that may be gone at the next try; ``after`` is the wait in seconds that the source asked for."""

    def __init__(self, error: DownloadError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after


@dataclass(frozen=True)
class Patience:
    """How long to wait for a source that does not answer or fails.

    ``retries`` counts failures in a row that brought less than ``least`` bytes. ``timeout`` is for connecting and for
    each silence, ``longest_wait`` the longest a source may ask us to wait, ``slow`` what is given, besides a silence,
    for the head of an answer with all redirections, and then for each ``least`` bytes; in seconds.
    """

    retries: int = 5
    timeout: float = 20
    longest_wait: float = 120
    slow: float = 60
    least: int = 2**12

    @property
    def span(self) -> float:
        """The seconds within which something must have come."""
        return self.timeout + self.slow

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row: twice as long each time, with jitter."""
        return random.uniform(0.5, 1) * min(FIRST_DELAY_SECONDS * 2.0**failures, self.longest_wait)  # noqa: S311

    def wait(self, fault: TemporaryFault, failures: int, listener: Listener) -> None:
        """Wait before the next try, after so many failures in a row.

        Raises:
            DownloadError: they were too many, or the source asks to wait too long.
        """
        if failures > self.retries or (fault.after or 0) > self.longest_wait:
            raise fault.error from fault
        seconds = fault.after if fault.after is not None else self.delay(failures)
        listener.retry(fault.error, seconds)
        time.sleep(seconds)
