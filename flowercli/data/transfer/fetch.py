"""Fetch one file: resume, retry, verify, and only then give it its name."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from flowercli.atomic import PARTIAL_PREFIX
from flowercli.data.transfer import faults, local, s3, web
from flowercli.data.transfer.contract import Patience, TemporaryFault, shown
from flowercli.data.transfer.partial import Partial
from flowercli.errors import DownloadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flowercli.data.transfer.contract import Listener, Stream, Wanted

# A new kind of address is a module and a row.
OPENERS: dict[str, Callable[[str, int, str | None, Patience], Stream]] = {
    "http": web.open_stream,
    "https": web.open_stream,
    "file": local.open_stream,
    "s3": s3.open_stream,
}


@dataclass(frozen=True)
class Fetched:
    """A file that is there: its length and sha256, and how many of its bytes had to be fetched now."""

    path: Path
    size: int
    sha256: str
    received: int


def fetch(
    wanted: Wanted, target: Path, listener: Listener, *, patience: Patience | None = None, unpacked: float = 0
) -> Fetched:
    """Fetch a file; ``target`` appears when it is whole and verified, and what has arrived until then is kept.

    Processes that want the same ``target`` at once wait for the first one and use its result.

    Args:
        wanted: what to fetch.
        target: where to; its folder is made.
        listener: told of the progress.
        patience: retries and timeouts.
        unpacked: what must be free on the disk besides the file, in times of its length.

    Raises:
        DownloadError: it cannot be had, or is not what was wanted.
        UsageError: an address of an unknown kind.
    """
    if urlsplit(wanted.url).scheme not in OPENERS:
        raise UsageError(f"{shown(wanted.url)}: no such kind of address.", hint=f"There are: {', '.join(OPENERS)}")
    with disk_faults():
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target, listener.waiting):
            there = _already(wanted, target)
            return there or _fetch(wanted, target, listener, patience or Patience(), unpacked)


@contextmanager
def alone(target: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file or folder; ``waiting`` is called if another process has it."""
    lock = FileLock(target.with_name(f"{PARTIAL_PREFIX}{target.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_faults() -> Iterator[None]:
    """Turn the errors of a disk that is full or read-only into messages.

    Raises:
        DownloadError: in their place.
    """
    try:
        yield
    except OSError as error:
        if not faults.is_disk_fault(error):
            raise
        raise faults.from_disk(error) from error


def check_space(folder: Path, needed: float) -> None:
    """Compare the bytes that are needed with those that are free.

    Raises:
        DownloadError: there are too few.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"The disk has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are needed: {folder}"
        raise DownloadError(message, hint=faults.DISK[errno.ENOSPC][1])


def _already(wanted: Wanted, target: Path) -> Fetched | None:
    """Return the file if it is there, from another process or an earlier time."""
    if not target.is_file():
        return None
    import hashlib

    with target.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if wanted.sha256 in (None, sha256):
        return Fetched(target, target.stat().st_size, sha256, 0)
    target.unlink()
    return None


def _fetch(wanted: Wanted, target: Path, listener: Listener, patience: Patience, unpacked: float) -> Fetched:
    transfer = _Transfer(wanted, target, listener, patience, unpacked)
    with Partial(target) as partial:
        for last in (False, True):
            transfer.run(partial)
            sha256 = partial.sha256()
            if wanted.sha256 in (None, sha256):
                partial.finish()
                return Fetched(target, partial.size, sha256, transfer.received)
            if last or not partial.pieced:
                break
            # The pieces do not fit together: the source changed and its server did not say so, or the disk lost some.
            partial.restart()
        partial.discard()
    message = f"{shown(wanted.url)} has the sha256 {sha256}, not {wanted.sha256}: it is another file, or a damaged one."
    raise DownloadError(message, hint="It was deleted. Check the address, and that the sha256 is of this version.")


@dataclass
class _Transfer:
    """One file on its way."""

    wanted: Wanted
    target: Path
    listener: Listener
    patience: Patience
    unpacked: float
    received: int = 0

    def run(self, partial: Partial) -> None:
        """Fetch until all is there, however often the connection breaks."""
        best, failures = partial.size, 0
        while not (self.wanted.size is not None and partial.size == self.wanted.size):
            try:
                self._run_once(partial)
            except TemporaryFault as fault:
                # Only new ground counts: a source that always starts again and breaks would go on for ever.
                failures = 1 if partial.size > best else failures + 1
                best = max(best, partial.size)
                if failures > self.patience.retries:
                    raise fault.error from fault
                seconds = fault.after if fault.after is not None else self.patience.delay(failures)
                self.listener.retry(fault.error, seconds)
                time.sleep(seconds)
            else:
                return

    def _run_once(self, partial: Partial) -> None:
        url = self.wanted.current_url()
        # Without anything that tells whether the file has changed, pieces of two could be put together unnoticed.
        offset = partial.size if partial.validator or self.wanted.sha256 else 0
        stream = OPENERS[urlsplit(url).scheme](url, offset, partial.validator, self.patience)
        with closing(stream):
            self._check_length(stream)
            partial.begin(stream.offset, stream.validator)
            self._check_space(stream, partial)
            self.listener.begin(partial.size, stream.total)
            self._receive(stream, partial)
        total = stream.total if stream.total is not None else self.wanted.size
        if total is not None and partial.size != total:
            raise faults.cut(url, partial.size, total)

    def _receive(self, stream: Stream, partial: Partial) -> None:
        limit = stream.total if stream.total is not None else self.wanted.size
        while chunk := stream.read():
            if limit is not None and partial.size + len(chunk) > limit:
                partial.discard()
                raise self._wrong_length(f"more than {limit}")
            partial.append(chunk)
            self.received += len(chunk)
            self.listener.advance(len(chunk))
            if partial.size == limit:
                return

    def _check_length(self, stream: Stream) -> None:
        if None not in (stream.total, self.wanted.size) and stream.total != self.wanted.size:
            raise self._wrong_length(str(stream.total))

    def _wrong_length(self, found: str) -> DownloadError:
        expected = f", not {self.wanted.size}" if self.wanted.size is not None else ""
        message = f"{shown(self.wanted.url)} has {found} bytes{expected}: it is another file."
        return DownloadError(message, hint="Check the address; a mirror must have the very same file.")

    def _check_space(self, stream: Stream, partial: Partial) -> None:
        total = stream.total or self.wanted.size or 0
        check_space(self.target.parent, total * (1 + self.unpacked) - partial.size)


def forget(target: Path) -> None:
    """Delete a file and what is left of unfinished transfers of it."""
    for path in (target, *target.parent.glob(f"{PARTIAL_PREFIX}{target.name}*")):
        with contextlib.suppress(OSError):
            path.unlink()
