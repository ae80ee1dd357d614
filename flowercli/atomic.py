"""Write files so that a reader, or a killed process, never meets half of one."""

from __future__ import annotations

import errno
import glob
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

PARTIAL_PREFIX = ".partial-"
# A file system has room for 255 bytes.
LONGEST_NAME = 48
OWNER = re.compile(r"(\d+)-")
# What a process has open, by a path: /dev/stdout leads to /proc/self/fd/1.
DESCRIPTOR = re.compile(r"(?:/dev|/proc/self)/fd/(\d+)")
# What meets one file that is written meets all that follow.
MEETS_ALL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a temporary name in the same folder, then rename it into place."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes under a temporary name in the same folder, then rename it into place."""
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def append_bytes(path: Path, content: bytes) -> None:
    """Append bytes to a file and write them through to the disk, or leave it as it was.

    Raises:
        OSError: it is not there, or cannot be written.
    """
    with path.open("r+b", buffering=0) as stream:
        size = stream.seek(0, os.SEEK_END)
        try:
            left = memoryview(content)
            while left:
                left = left[stream.write(left) :]
            os.fsync(stream.fileno())
        except BaseException:
            stream.truncate(size)
            raise


def replace_file(source: Path, target: Path) -> None:
    """Move a finished file over ``target``, across file systems too, without a moment of half a file."""
    with new_file(target) as temporary:
        shutil.move(source, temporary)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which takes the place of ``path`` if the block succeeds.

    It lies in a folder of its own beside ``path``, whose name starts with ``.partial-``: another process may be writing
    the same file. What a killed process leaves there, the next one for this path deletes.

    A link stays, and what it leads to is replaced. A device, a pipe or ``/dev/stdout`` stays too: what was written goes
    into it at the end of the block.
    """
    if is_stream(path):
        with open_stream(path) as stream, scratch_folder("output") as elsewhere:
            temporary = elsewhere / path.name
            yield temporary
            with temporary.open("rb") as source:
                shutil.copyfileobj(source, stream)
        return
    path = Path(os.path.realpath(path))
    sweep(path)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
    temporary = folder / path.name
    try:
        yield temporary
        put_in_place(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Write a finished file through to the disk and rename it to ``path``, on the same file system."""
    with suppress(FileNotFoundError):  # A file that is replaced keeps who may read it.
        temporary.chmod(stat.S_IMODE(path.stat().st_mode))
    with temporary.open("r+b") as file:  # Windows syncs none that is only read.
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that becomes ``path`` if the block succeeds.

    Its name starts with ``.partial-``; what a killed process leaves under it, the next one for this path deletes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    temporary = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
    try:
        mode = _mode_of_new_folders(temporary)
        yield temporary
        temporary.chmod(mode)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def scratch_folder(purpose: str, place: Path | None = None) -> Iterator[Path]:
    """Yield a folder in ``place`` for what is needed during the block only; by default where the machine keeps such.

    What a killed process leaves there, the next one with this purpose deletes.
    """
    start = sweep_scratch(purpose, place)
    with tempfile.TemporaryDirectory(prefix=_prefix(start), dir=start.parent) as folder:
        yield Path(folder)


def sweep_scratch(purpose: str, place: Path | None = None) -> Path:
    """Delete what killed processes left of such folders; return how their names begin, without whose they are."""
    start = (place or Path(tempfile.gettempdir())) / f"flowers-{purpose}"
    sweep(start)
    return start


def _mode_of_new_folders(folder: Path) -> int:
    """Return who may enter a folder that is made in this one: asking for the user's umask would change it."""
    probe = folder / "probe"
    probe.mkdir()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.rmdir()
    return mode


def is_stream(path: Path) -> bool:
    """Tell whether a path is no place for a file of its own: a device, a pipe, or what this process has open."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def open_stream(path: Path) -> BinaryIO:
    """Open such a path for writing."""
    descriptor = _descriptor(path)
    # Opened anew, a file would be written from its start.
    return path.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb")


def _descriptor(path: Path) -> int | None:
    """Return the number of what this process has open, if a path leads to it."""
    hops = [path.absolute()]
    with suppress(OSError):
        hops.append(path.parent.absolute() / path.readlink())
    found = next(filter(None, (DESCRIPTOR.fullmatch(str(hop)) for hop in hops)), None)
    return int(found[1]) if found else None


def replace_folder(source: Path, target: Path) -> None:
    """Move a finished folder of the same file system to ``target``, in place of what is there.

    A process that is killed in between leaves no ``target``, and what it was under a name with ``.partial-``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    old = Path(tempfile.mkdtemp(prefix=f"{PARTIAL_PREFIX}{target.name}-", dir=target.parent))
    try:
        if target.exists():
            target.rename(old / target.name)
        source.rename(target)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def sweep(path: Path) -> None:
    """Delete what processes of this machine that are no more left half-written of a file or folder.

    And of others beside it, what is empty: who is killed when the file is in its place, and its folder not yet gone,
    leaves that, and perhaps nobody writes that file again.
    """
    start, mark = _of_this_machine(path), f"-{_here():08x}-"
    for name in glob.iglob(f"{PARTIAL_PREFIX}*{mark}*", root_dir=path.parent, include_hidden=True):
        found = OWNER.match(name, name.rindex(mark) + len(mark))
        if found is None or _is_alive(int(found[1])):
            continue
        left = path.parent / name
        if not name.startswith(start):
            with suppress(OSError):  # It is a file, or not empty.
                left.rmdir()
        elif left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):
                left.unlink()


def _prefix(path: Path) -> str:
    """Return the start of a temporary name, which tells whose it is."""
    return f"{_of_this_machine(path)}{os.getpid()}-"


def _of_this_machine(path: Path) -> str:
    # Process numbers mean nothing on another machine, nor in another container, whose files may be in the same folder.
    return f"{PARTIAL_PREFIX}{path.name[:LONGEST_NAME]}-{_here():08x}-"


@cache
def _here() -> int:
    """Return a number of this machine, and of what tells its processes apart."""
    told = [platform.node()]
    for place in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        with suppress(OSError):
            told.append(Path(place).read_text(encoding="ascii"))
    with suppress(OSError):
        told.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return zlib.crc32("".join(told).encode())


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # There, asking in this way would end it.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
