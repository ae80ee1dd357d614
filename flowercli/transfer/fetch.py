"""Fetch one file: resume, retry, verify, and only then give it its name."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flowercli.errors import UsageError, WrongContentError
from flowercli.locks import alone
from flowercli.transfer import faults, local, s3, web
from flowercli.transfer.contract import Fetched, Listener, Opener, Patience, Stream, TemporaryFault, Wanted
from flowercli.transfer.faults import check_space, disk_faults
from flowercli.transfer.partial import Partial

# A new kind of address is a module and a row.
OPENERS: dict[str, Opener] = {
    "http": web.open_stream,
    "https": web.open_stream,
    "file": local.open_stream,
    "s3": s3.open_stream,
}


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
        DownloadError: it cannot be had.
        WrongContentError: it is not what was wanted.
        UsageError: an address of an unknown kind.
    """
    opener = wanted.opener or OPENERS.get(urlsplit(wanted.url).scheme)
    if opener is None:
        raise UsageError(f"{wanted.name}: no such kind of address.", hint=f"There are: {', '.join(OPENERS)}")
    with disk_faults(), alone(target, listener.waiting):
        there = _already(wanted, target)
        return there or _fetch(wanted, opener, target, listener, patience or Patience(), unpacked)


def _already(wanted: Wanted, target: Path) -> Fetched | None:
    """Return the file if it is there, from another process or an earlier time."""
    if not target.is_file():
        return None
    size, sha256 = target.stat().st_size, _digest(target, "sha256")
    if wanted.size in (None, size) and wanted.sha256 in (None, sha256) and not _other_md5(wanted, target):
        return Fetched(target, size, sha256, 0, wanted.verified_by)
    target.unlink()
    return None


def _fetch(
    wanted: Wanted, opener: Opener, target: Path, listener: Listener, patience: Patience, unpacked: float
) -> Fetched:
    transfer = _Transfer(wanted, opener, target, listener, patience, unpacked)
    with Partial(target) as partial:
        for last in (False, True):
            transfer.run(partial)
            sha256 = partial.sha256()
            other = _other_sha256(wanted, sha256) or _other_md5(wanted, partial.path)
            if not other:
                partial.finish()
                return Fetched(target, partial.size, sha256, transfer.received, wanted.verified_by)
            if last or not partial.pieced:
                break
            # The pieces do not fit together: the source changed and its server did not say so, or the disk lost some.
            partial.restart()
        partial.discard()
    hint = "It was deleted. Check the address and the hash; if it happens again, tell whoever offers the file."
    raise WrongContentError(f"{wanted.name} has the {other}: it is another file, or a damaged one.", hint=hint)


def _other_sha256(wanted: Wanted, found: str) -> str:
    return "" if wanted.sha256 in (None, found) else f"sha256 {found}, not {wanted.sha256}"


def _other_md5(wanted: Wanted, path: Path) -> str:
    """Say what is there instead; read once more, as only what is under DVC has an MD5."""
    found = _digest(path, "md5") if wanted.md5 else None
    return "" if found == wanted.md5 else f"MD5 {found}, not {wanted.md5}"


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@dataclass
class _Transfer:
    """One file on its way."""

    wanted: Wanted
    opener: Opener
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
                # Only new ground counts: a source that always starts again and breaks would go on for ever, as would
                # one that breaks after every byte.
                failures = 1 if partial.size >= best + self.patience.least else failures + 1
                best = max(best, partial.size)
                self.patience.wait(fault, failures, self.listener)
            else:
                return

    def _run_once(self, partial: Partial) -> None:
        # Without anything that tells whether the file has changed, pieces of two could be put together unnoticed.
        offset = partial.size if partial.validator or self.wanted.sha256 or self.wanted.md5 else 0
        stream = self.opener(self.wanted.request(offset, partial.validator, self.patience))
        with closing(stream):
            if None not in (stream.total, self.wanted.size) and stream.total != self.wanted.size:
                raise self._wrong_length(str(stream.total))
            partial.begin(stream.offset, stream.validator)
            self._check_space(stream, partial)
            self.listener.begin(partial.size, stream.total)
            self._receive(stream, partial)
        total = stream.total if stream.total is not None else self.wanted.size
        if total is not None and partial.size != total:
            raise faults.cut(self.wanted.name, self.wanted.url, partial.size, total)

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

    def _wrong_length(self, found: str) -> WrongContentError:
        expected = f", not {self.wanted.size}" if self.wanted.size is not None else ""
        message = f"{self.wanted.name} has {found} bytes{expected}: it is another file."
        return WrongContentError(message, hint="Check the address; a mirror must have the very same file.")

    def _check_space(self, stream: Stream, partial: Partial) -> None:
        total = stream.total or self.wanted.size or 0
        check_space(self.target.parent, total * (1 + self.unpacked) - partial.size)
