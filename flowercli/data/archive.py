"""Extract an archive that nobody has looked into: only plain files and folders, only inside, only so much.

The files are written here and not by ``tarfile`` or ``zipfile``, so nothing of an archive but names and bytes gets
through: no owners, modes, times or links.
"""

from __future__ import annotations

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from flowercli.data.bounded import BoundedDirectory, BoundedStream, too_many
from flowercli.data.inside import SHOWN, Taken, checked, refused
from flowercli.errors import ArchiveError
from flowercli.shown import one_line

COPY_SIZE = 2**18
ENCRYPTED, IS_UTF8 = 0x1, 0x800
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
# What tarfile lets through of its numbers, as those of sparse files in PAX heads, and zipfile of its names.
BAD_HEAD, WRONG_HEAD = (ValueError, IndexError, OverflowError, struct.error), "the head of a file makes no sense"
# What macOS adds to its archives.
JUNK = "__MACOSX"


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: members, bytes of all files, and bytes for each byte of the archive.

    The ratio counts only beyond ``ratio_free`` bytes: a small archive of text may well be packed tightly.
    """

    members: int = 200_000
    total: int = 64 * 2**30
    ratio: int = 100
    ratio_free: int = 64 * 2**20


@dataclass
class _Extraction:
    """An archive being extracted into a folder."""

    archive: Path
    folder: Path
    limits: Limits
    progress: Callable[[int], None]
    members: int = 0
    files: int = 0
    taken: Taken = field(default_factory=Taken)

    @property
    def most(self) -> int:
        """The bytes that may come out."""
        by_ratio = max(self.limits.ratio_free, self.limits.ratio * self.archive.stat().st_size)
        return min(self.limits.total, by_ratio)

    def count(self, members: int = 1) -> None:
        self.members += members
        if self.members > self.limits.members:
            raise too_many(self.limits.members)

    def make_folder(self, name: str) -> None:
        path = checked(name)
        # It is counted itself, so that one which is there many times is, too.
        self.count(max(self.taken.add_folder(path) - 1, 0))
        (self.folder / path).mkdir(parents=True, exist_ok=True)

    def write(self, name: str, source: BinaryIO, size: int) -> None:
        path = checked(name)
        if not path.parts:
            raise refused(name, "is a file without a name")
        if path.parts[0] == JUNK:
            return
        self.count(self.taken.add_file(path))
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with target.open("xb") as file:
            while chunk := source.read(COPY_SIZE):
                file.write(chunk)
                written += len(chunk)
                self.progress(len(chunk))
        if written != size:
            raise _damaged(self.archive, "it ends in the middle of a file")
        self.files += 1


def extract(
    archive: Path,
    folder: Path,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] = lambda _count: None,
) -> int:
    """Extract a tar (plain, gzip, bzip2, xz) or zip archive into an empty folder.

    When this raises, the folder may hold some of the files: delete it. ``atomic.new_folder`` does.

    Args:
        archive: the file; its name does not matter.
        folder: an empty folder that nobody else writes to.
        limits: what is refused as too much.
        progress: called with the bytes written.

    Returns:
        The number of files.

    Raises:
        ArchiveError: it is no archive, damaged, encrypted, too large, or has a member that is no plain file or folder.
    """
    extraction = _Extraction(archive, folder, limits or Limits(), progress)
    try:
        if _starts_as_zip(archive):
            _extract_zip(extraction)
        else:
            _extract_tar(extraction)
    except DAMAGED as error:
        raise _damaged(archive, str(error) or "it ends too early") from error
    except OSError as error:
        if error.errno is not None:  # Of the disk, not of gzip, whose errors have no number.
            raise
        raise _damaged(archive, str(error)) from error
    if not extraction.files:
        raise ArchiveError(f"{archive.name} has no files in it.", hint="Check the address.")
    return extraction.files


def _extract_tar(extraction: _Extraction) -> None:
    with BoundedStream.open(extraction.archive, extraction.most) as stream:
        try:
            with stream.head():  # It reads that of the first member.
                tar = tarfile.open(fileobj=cast("BinaryIO", stream), mode="r:")  # noqa: SIM115  (closed below)
        except tarfile.TarError as error:
            message = f"{extraction.archive.name} is neither a tar nor a zip archive."
            raise ArchiveError(message, hint="Known: .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz, .zip") from error
        except BAD_HEAD as error:
            raise _damaged(extraction.archive, WRONG_HEAD) from error
        with tar:
            for member in _members(extraction.archive, tar, stream):
                _extract_tar_member(extraction, tar, member)
                # A list of all members, which tarfile keeps for those who ask by name, and what heads say of all that
                # follow, which each of them gets a copy of.
                cast("Any", tar).members.clear()
                cast("Any", tar).pax_headers.clear()
        # tarfile takes damage between two members for the end.
        if stream.last_read.strip(b"\0") or len(stream.last_read) != tarfile.BLOCKSIZE:
            raise _damaged(extraction.archive, "it ends too early")
        stream.exhaust()


def _members(archive: Path, tar: tarfile.TarFile, stream: BoundedStream) -> Iterator[tarfile.TarInfo]:
    """Yield the members; what is wrong with those of the disk passes by, as it is not raised in here."""
    members = iter(tar)
    while True:
        with _sound_heads(archive), stream.head():
            member = next(members, None)
        if member is None:
            return
        yield member


@contextmanager
def _sound_heads(archive: Path) -> Iterator[None]:
    try:
        yield
    except BAD_HEAD as error:
        raise _damaged(archive, WRONG_HEAD) from error


def _extract_tar_member(extraction: _Extraction, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    extraction.count()
    if member.isdir():
        extraction.make_folder(member.name)
    elif member.isreg() and not member.issparse():
        source = tar.extractfile(member)
        assert source is not None
        extraction.write(member.name, cast("BinaryIO", source), member.size)
    else:
        raise refused(member.name, f"is {_kind(member)}")


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"a link to '{one_line(member.linkname[:SHOWN])}'"
    if member.isfifo():
        return "a named pipe"
    return "a device" if member.isdev() else "neither a plain file nor a folder"


def _extract_zip(extraction: _Extraction) -> None:
    with ExitStack() as stack:
        file = stack.enter_context(BoundedDirectory(extraction.archive, extraction.limits.members))
        with _sound_heads(extraction.archive):
            archive = stack.enter_context(zipfile.ZipFile(file))
        left = extraction.most
        for member in archive.infolist():
            extraction.count()
            left -= member.file_size
            if left < 0:
                raise BoundedStream.too_much(extraction.most)
            _extract_zip_member(extraction, archive, member)


def _extract_zip_member(extraction: _Extraction, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    name = _zip_name(member)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refused(name, "is a link" if kind == stat.S_IFLNK else "is neither a plain file nor a folder")
    if member.flag_bits & ENCRYPTED:
        raise refused(name, "is encrypted")
    if name.endswith("/"):
        extraction.make_folder(name)
        return
    if member.header_offset < 0:  # The disk would be blamed for it.
        raise _damaged(extraction.archive, WRONG_HEAD)
    with _sound_heads(extraction.archive):
        source = archive.open(member)
    with source:
        # zipfile gives out no more than `file_size` bytes, and checks their CRC.
        extraction.write(name, cast("BinaryIO", source), member.file_size)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name; where it is not said to be UTF-8, but is, it is taken for that, as by Info-ZIP's tools.

    They and macOS write such names, which are CP437 by the format, and which zipfile reads as that.
    """
    # Not `filename`: zipfile cuts that at a NUL.
    name = member.orig_filename
    if member.flag_bits & IS_UTF8:
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        return name


def _starts_as_zip(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(2) == b"PK"


def _damaged(archive: Path, why: str) -> ArchiveError:
    return ArchiveError(f"{archive.name} is damaged: {why.rstrip('.')}.", hint="Fetch it again.")
