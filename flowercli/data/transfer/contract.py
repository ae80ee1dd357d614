"""What the parts of a transfer agree on: what is wanted, what a source gives, who is told, how patient to be."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowercli.errors import DownloadError

FIRST_DELAY_SECONDS = 0.25


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


@dataclass(frozen=True)
class Wanted:
    """A file to fetch, with its length in bytes and its sha256 (hexadecimal) where they are known.

    ``address`` gives the URL each time it is needed: that of a signed one changes while the file does not.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    address: Callable[[], str] | None = None

    def current_url(self) -> str:
        """Return the URL to ask now."""
        return self.address() if self.address else self.url


@dataclass(frozen=True)
class Patience:
    """How long to wait for a source that does not answer or fails.

    ``retries`` counts failures in a row that brought not one byte. ``timeout`` is for connecting and for each silence,
    ``longest_wait`` the longest a source may ask us to wait; both in seconds.
    """

    retries: int = 5
    timeout: float = 20
    longest_wait: float = 120

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row: twice as long each time, with jitter."""
        return random.uniform(0.5, 1) * min(FIRST_DELAY_SECONDS * 2.0**failures, self.longest_wait)  # noqa: S311


class TemporaryFault(Exception):  # noqa: N818  (carries the error that is raised in the end)
    """Something that may be gone at the next try; ``after`` is the wait in seconds that the source asked for."""

    def __init__(self, error: DownloadError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after


def shown(url: str) -> str:
    """Return a URL for messages and for the index: without its query, which may hold a signature."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="", fragment=""))
