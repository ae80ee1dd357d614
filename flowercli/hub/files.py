"""One file from the Hub: from where it stopped, with patience, and checked before anybody sees it.

The Hub's own client forgets what had arrived when its process ends, so the bytes are fetched here; addresses,
headers, token and errors are the client's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowercli.bundle import describe
from flowercli.errors import HubError
from flowercli.hub.client import timeout
from flowercli.hub.faults import AGAIN, explained, transport_error
from flowercli.hub.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowercli.hub.patience import Say
    from flowercli.hub.reference import Reference

    # Called with a file's name, the bytes of it that are here, and its size.
    Advance = Callable[[str, int, int], None]

PARTIAL_CONTENT = 206


@dataclass(frozen=True)
class Wanted:
    """A file to fetch, and what it has to be; ``sha256`` is ``None`` where nobody says."""

    name: str
    size: int
    sha256: str | None


def fetch(source: Reference, wanted: Wanted, target: Path, advance: Advance, say: Say) -> None:
    """Complete ``target`` from what has arrived of it before, and check its size and sha256.

    Args:
        source: the repository and its commit.
        wanted: the file.
        target: where it goes; not where anybody looks for it yet.
        advance: called as bytes arrive.
        say: called when there is something to wait for.

    Raises:
        HubError: it cannot be fetched, or is not the file it should be.
    """
    resumed = target.exists()
    _complete(source, wanted, target, advance, say)
    if not _is_right(target, wanted) and resumed:
        # What lay there was not the beginning of this file.
        target.unlink()
        _complete(source, wanted, target, advance, say)
    if not _is_right(target, wanted):
        found = describe(target)
        target.unlink()
        message = (
            f"{wanted.name} of {source} is not what it should be: {found['size']} bytes, sha256 {found['sha256'][:12]}…"
        )
        expected = f" instead of {wanted.size} bytes, {(wanted.sha256 or 'any')[:12]}…"
        raise HubError(
            message + expected, hint="Nothing of it was kept. If it happens again, tell the owner of the repository."
        )


def _is_right(path: Path, wanted: Wanted) -> bool:
    found = describe(path)
    return found["size"] == wanted.size and wanted.sha256 in (None, found["sha256"])


def _complete(source: Reference, wanted: Wanted, target: Path, advance: Advance, say: Say) -> None:
    target.touch()
    if target.stat().st_size > wanted.size:
        target.write_bytes(b"")
    patience = Patience(source, say)
    with explained(source):
        while (had := target.stat().st_size) < wanted.size:
            try:
                _append(source, wanted, target, advance)
            except transport_error() as error:
                if target.stat().st_size > had:
                    patience.progress()
                patience.wait_after(error)
            else:
                if target.stat().st_size <= had:
                    message = f"{wanted.name} of {source} ends after {had} of the {wanted.size} bytes announced."
                    raise HubError(message, hint=AGAIN)
    advance(wanted.name, wanted.size, wanted.size)


def _append(source: Reference, wanted: Wanted, target: Path, advance: Advance) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(source.repo_id, wanted.name, revision=source.revision)
    have = target.stat().st_size
    # Compressed, a range would count other bytes than those on disk.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with get_session().stream("GET", url, headers=headers, timeout=timeout(), follow_redirects=True) as response:
        if response.is_error:
            response.read()
        hf_raise_for_status(response)
        if response.status_code != PARTIAL_CONTENT:
            have = 0
        with target.open("r+b") as file:
            file.seek(have)
            file.truncate()
            for chunk in response.iter_bytes():
                file.write(chunk)
                have += len(chunk)
                advance(wanted.name, have, wanted.size)
                if have > wanted.size:
                    raise HubError(f"{wanted.name} of {source} is longer than the {wanted.size} bytes announced.")
