"""What DVC keeps, as something to fetch like any other file and to send to S3 in parts: both go on where they were.

DVC itself begins again with the first byte; a dataset is one object of hundreds of megabytes.
"""

from __future__ import annotations

import base64
import errno
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.data.dvc.dvc_quietly import explained
from flowercli.errors import DataError
from flowercli.transfer.contract import FilesListener, Request, Wanted
from flowercli.transfer.fetch import fetch

if TYPE_CHECKING:
    from dvc.repo import Repo

    from flowercli.data.dvc.remote import Remote
    from flowercli.data.dvc.tracked import Tracked


CHUNK = 2**20
# What is asked of S3 at a time: much less than the library's 50 MiB, so that progress is seen and little is lost.
BLOCK = 8 * 2**20
DIRECTORY = ".dir"
# Where unfinished objects lie, in DVC's own temporary folder.
UNFINISHED = "flowers"

PART = 8 * 2**20
MOST_PARTS = 10_000
AT_ONCE = 4


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


@dataclass(frozen=True)
class Target:
    """An object to be: ``files`` is an ``s3fs`` file system, whose options for storage class or encryption hold."""

    files: Any
    bucket: str
    key: str

    def ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call one of S3's methods about the object."""
        answer: dict[str, Any] = self.files.call_s3(method, Bucket=self.bucket, Key=self.key, **arguments)
        return answer


def send(source: Path, target: Target, advance: Callable[[int], None] = lambda _bytes: None) -> bool:
    """Send a file, unless it is small, and return whether it was sent.

    The object appears when its last part is there; each part carries its MD5, which the server checks. Parts of an
    earlier try are kept where their hash is that of the file.

    Args:
        source: the file, which must not change.
        target: where to. Its name must be the hash of the content, as DVC's are: whoever else sends it sends the same.
        advance: called with the bytes of each part, sent or found there.
    """
    size = source.stat().st_size
    if size <= 2 * PART:
        return False
    try:
        upload, there = _unfinished(target)
    except OSError as error:
        if isinstance(error, PermissionError) or error.errno == errno.ENOSYS:
            return False  # Who may not list uploads may still put objects, as DVC does.
        raise
    if upload is None:
        upload = target.ask("create_multipart_upload")["UploadId"]
    length = max(PART, -(-size // MOST_PARTS))
    numbers = range(1, -(-size // length) + 1)
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        waiting = [pool.submit(_send_part, source, target, upload, n, length, there.get(n), advance) for n in numbers]
        parts = [{"PartNumber": n, "ETag": future.result()} for n, future in zip(numbers, waiting, strict=True)]
    finally:
        pool.shutdown(cancel_futures=True)
    target.ask("complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": parts})
    return True


def _send_part(
    source: Path,
    target: Target,
    upload: str,
    number: int,
    length: int,
    there: str | None,
    advance: Callable[[int], None],
) -> str:
    """Send a part unless it is there with the right hash, and return its ETag."""
    with source.open("rb") as file:
        file.seek((number - 1) * length)
        content = file.read(length)
    digest = hashlib.md5(content, usedforsecurity=False)
    etag = there
    if etag is None or etag.strip('"') != digest.hexdigest():
        md5 = base64.b64encode(digest.digest()).decode()
        sent = target.ask("upload_part", UploadId=upload, PartNumber=number, Body=content, ContentMD5=md5)
        etag = str(sent["ETag"])
    advance(len(content))
    return etag


def _unfinished(target: Target) -> tuple[str | None, dict[int, str]]:
    """Return the newest upload of the object that was not finished, and the ETags of its parts by number."""
    listed = target.files.call_s3("list_multipart_uploads", Bucket=target.bucket, Prefix=target.key)
    uploads = [upload for upload in listed.get("Uploads", []) if upload["Key"] == target.key]
    if not uploads:
        return None, {}
    newest: str = max(uploads, key=lambda upload: str(upload["Initiated"]))["UploadId"]
    parts: dict[int, str] = {}
    marker = 0
    while True:
        page = target.ask("list_parts", UploadId=newest, PartNumberMarker=marker)
        parts |= {part["PartNumber"]: part["ETag"] for part in page.get("Parts", [])}
        if not page.get("IsTruncated"):
            return newest, parts
        marker = page["NextPartNumberMarker"]
