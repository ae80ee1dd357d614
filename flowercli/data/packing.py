"""One deterministic tar of a dataset: the same photographs always give the same bytes.

Uncompressed, because photographs are compressed already. Owners, permissions and times are not those of the machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from flowercli.atomic import PARTIAL_PREFIX, replace_folder
from flowercli.data.archive import JUNK, Limits, extract
from flowercli.data.inside import Taken, checked
from flowercli.errors import ArchiveError, DataError
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.data.get_dataset import DatasetListener

# An archive of one's own may be larger than one from anywhere.
LIMITS = Limits(members=2_000_000, total=500 * 10**9)
# The first day that every archive format can express.
MTIME = 315_532_800


def pack(folder: Path, target: Path, advance: Callable[[int], None] = lambda _bytes: None) -> None:
    """Write the files below a folder into a tar, which appears under its name when it is whole.

    Args:
        folder: hidden files in it are left out.
        target: is replaced if it is there.
        advance: called with the bytes of each file.

    Raises:
        DataError: something in the folder is neither a file nor a folder, or has a name that no file may have
            everywhere: it would not arrive as what it is.
    """
    # One name a target, so that a killed process leaves one file and the next one overwrites it.
    temporary = target.with_name(PARTIAL_PREFIX + target.name)
    try:
        with temporary.open("wb") as file:
            _write(folder, file, advance)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def packed_md5(folder: Path) -> str:
    """Return the MD5, DVC's hash, of the tar that :func:`pack` would write, without writing it."""
    digest = _Digest()
    _write(folder, digest, lambda _bytes: None)
    return digest.md5.hexdigest()


def size_below(folder: Path) -> int:
    """Return the bytes of the files that :func:`pack` would pack."""
    return sum(path.stat().st_size for path in _below(folder) if path.is_file())


def unpack_over(archive: Path, folder: Path, listener: DatasetListener) -> None:
    """Unpack a tar of :func:`pack` in place of a folder, which is whole at every moment but between two renames.

    Raises:
        ArchiveError: it is damaged, or holds what such a tar never does.
    """
    fresh = folder.with_name(f"{PARTIAL_PREFIX}new-{folder.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    listener.extracting(archive.stat().st_size)
    try:
        extract(archive, fresh, limits=LIMITS, progress=listener.extracted)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    replace_folder(fresh, folder)


def _write(folder: Path, file: BinaryIO | _Digest, advance: Callable[[int], None]) -> None:
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        taken = Taken()
        for path in _below(folder):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            _check_name(path, member.name, taken)
            member.mtime = MTIME
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                hint = f"Put a copy of what it means in its place: cp -rL {in_shell(folder)} COPY"
                raise DataError(f"{path} is a link or a special file, which cannot be packed.", hint=hint)
            if path.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
                continue
            with _unchanging(path) as content:
                member.size, member.mode = os.fstat(content.fileno()).st_size, 0o644
                tar.addfile(member, content)
            advance(member.size)


def _check_name(path: Path, name: str, taken: Taken) -> None:
    """Refuse here what would be refused where the archive is unpacked."""
    try:
        if path.is_dir():
            taken.add_folder(checked(name))
        else:
            taken.add_file(checked(name))
    except ArchiveError as error:
        why = error.message.removeprefix("The archive is refused: ")
        hint = "Rename it, and run the command again."
        raise DataError(f"{path.parent} cannot be packed: {why}", hint=hint) from error


@contextmanager
def _unchanging(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as content:
            yield content
    except OSError as error:
        if error.errno is not None:  # tarfile's own, about a file that got shorter, has no number.
            raise
        raise DataError(f"{path} changed while it was packed.", hint="Run the command again.") from error


def _below(folder: Path) -> list[Path]:
    """Return what is below a folder in the order of names, without what is hidden or added by macOS."""

    def is_left_out(part: str) -> bool:
        return part.startswith(".") or part == JUNK

    found = (path for path in folder.rglob("*") if not any(map(is_left_out, path.relative_to(folder).parts)))
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


class _Digest:
    """A file that keeps nothing but the hash of what is written."""

    def __init__(self) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)

    def write(self, content: bytes) -> int:
        self.md5.update(content)
        return len(content)
