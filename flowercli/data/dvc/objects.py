"""What DVC keeps, as something to fetch: resumed, shown and verified like any other file.

DVC itself fetches an object that was cut off again from its first byte.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.data.dvc.s3_errors import explained
from flowercli.errors import DataError
from flowercli.transfer.contract import Wanted
from flowercli.transfer.fetch import fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvc.repo import Repo

    from flowercli.data.dvc.remote import Remote
    from flowercli.data.dvc.tracked import Tracked
    from flowercli.transfer.contract import FilesListener, Request

CHUNK = 2**20
# What is asked of S3 at a time: much less than the library's 50 MiB, so that progress is seen and little is lost.
BLOCK = 8 * 2**20
DIRECTORY = ".dir"
# Where unfinished objects lie, in DVC's own temporary folder.
UNFINISHED = "flowers"


class ObjectStream:
    """The bytes of a file of one of DVC's file systems; its hash, the ``validator``, tells whether it has changed.

    Errors become ours here: those of S3 carry numbers that would be taken for the disk's.
    """

    def __init__(self, opened: Callable[[], Any], request: Request, validator: str | None) -> None:
        self._name = request.name
        self._file = self._explaining(opened)
        self.validator = validator
        self.total: int | None = getattr(self._file, "size", None)
        self.offset = request.offset if request.validator == validator else 0
        self._explaining(partial(self._file.seek, self.offset))

    def read(self) -> bytes:
        """Return the next bytes.

        Raises:
            DataError: they cannot be had, for a reason that is told.
        """
        content: bytes = self._explaining(partial(self._file.read, CHUNK))
        return content

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _explaining(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except FileNotFoundError as error:
            hint = "Whoever made it has to push it: flowers data push, or dvc push"
            raise DataError(f"The remote does not hold {self._name}.", hint=hint) from error
        except Exception as error:
            if (known := explained([error], self._name)) is None:
                raise
            raise known from error


def fetch_objects(repo: Repo, remote: Remote, thing: Tracked, listener: FilesListener) -> None:
    """Fetch what one tracked thing consists of into DVC's cache; what is there is left alone.

    Raises:
        DataError: the remote lacks an object, or cannot be used.
        WrongContentError: an object is not what its hash says.
    """
    _fetch_object(repo, remote, thing.md5, Path(thing.out.fs_path).name, listener)
    for oid, name in sorted(thing.oids().items(), key=lambda item: item[1]):
        _fetch_object(repo, remote, oid, Path(name).name, listener)


def _fetch_object(repo: Repo, remote: Remote, oid: str, name: str, listener: FilesListener) -> None:
    cache = repo.cache.local
    if cache.exists(oid):
        return
    path = remote.odb.oid_to_path(oid)
    opened = partial(remote.files.open, path, "rb", block_size=BLOCK)
    wanted = Wanted(
        remote.url,
        md5=oid.removesuffix(DIRECTORY),
        opener=lambda request: ObjectStream(opened, request, oid),
        called=f"{name} in {remote.where}",
    )
    listener.fetching(name)
    done = fetch(wanted, Path(repo.tmp_dir) / UNFINISHED / oid, listener)
    if not oid.endswith(DIRECTORY):  # The list of a folder's files, which nobody asked for.
        listener.fetched(done)
    cache.add(str(done.path), cache.fs, oid, hardlink=True)
    done.path.unlink()
