"""Send one large object to S3 in parts, and go on with the parts that a killed push has left there.

DVC sends an object again from its first byte; a dataset is one object of hundreds of megabytes.
"""

from __future__ import annotations

import base64
import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PART = 8 * 2**20
MOST_PARTS = 10_000
AT_ONCE = 4


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
