"""From what the user typed (files, folders, globs, ``-``, URLs) to a stream of picture sources.

Nothing is collected: a folder of any size costs the memory of one folder's listing.
"""

from __future__ import annotations

import glob
import io
import os
from contextlib import suppress
from itertools import chain, dropwhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import _ScandirIterator as ScandirIterator
    from typing import TextIO

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".avif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".jp2",
        ".j2k",
        ".heic",
        ".heif",
    }
)
STDIN = "-"
FILE_URL = "file:///"
# Of object stores, as pyarrow.fs takes them.
STORES = ("s3://", "gs://", "gcs://", "abfs://", "abfss://", "hdfs://")
ANY_DEPTH = "**"
NUL = "\0"
# How pictures begin that can be told from the name of a file by that.
PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"RIFF", b"\0\0\0")
MOST_ON_STDIN = 512 * 2**20


def expand(arguments: Iterable[str], stdin: TextIO) -> Iterator[str]:
    """Yield the path or URL of each picture, in the order of the arguments.

    A folder gives its pictures (by suffix) and those of its subfolders, sorted; hidden ones are
    left out. A glob (``*``, ``?``, ``[…]``, ``**``) that the shell did not expand is expanded
    here; one that matches nothing is passed on, so that it is reported like any missing file.
    A ``file://`` address, as file managers give it, is the path that it stands for.
    ``-`` reads paths from ``stdin``, one a line or, as ``find -print0`` writes them, with a NUL after each; where a
    picture comes instead, ``-`` is passed on.
    """
    for argument in arguments:
        if argument == STDIN and _brings_a_picture(stdin):
            yield STDIN
        elif argument == STDIN:
            yield from expand(_lines(stdin), stdin)
        elif argument.startswith(FILE_URL):
            yield from expand([_local(argument)], stdin)
        elif os.path.isdir(argument):
            yield from walk(argument)
        elif not is_url(argument) and not os.path.lexists(argument) and glob.has_magic(argument):
            yield from _expand_glob(argument)
        else:
            yield argument


def is_url(text: str) -> bool:
    """Tell whether the text is an ``http`` or ``https`` address rather than a path."""
    return text[:8].lower().startswith(("http://", "https://"))


def is_object(text: str) -> bool:
    """Tell whether the text is the address of something in an object store."""
    return text.startswith(STORES)


def _local(url: str) -> str:
    from urllib.request import url2pathname  # It takes as long as reading a picture.

    return url2pathname(url.removeprefix("file://"))


def picture_on(stdin: TextIO) -> bytes:
    """Return the picture that comes on stdin, cut off behind the most that is read of any."""
    return stdin.buffer.read(MOST_ON_STDIN + 1)


def walk(folder: str) -> Iterator[str]:
    """Yield the pictures below a folder: its own first, then those of each subfolder, all sorted."""
    waiting = [folder]
    while waiting:  # Not recursive: folders may lie deeper than calls.
        folder = waiting.pop()
        try:
            pictures, folders = _listing(os.scandir(folder))
        except OSError:
            yield folder  # Passed on, so that it is reported like a picture that cannot be read.
            continue
        for name in pictures:
            yield os.path.join(folder, name)
        waiting += [os.path.join(folder, name) for name in reversed(folders)]


def _listing(entries: ScandirIterator[str]) -> tuple[list[str], list[str]]:
    """Return the names of the pictures and of the folders, sorted; nothing else is held of a large folder."""
    pictures: list[str] = []
    folders: list[str] = []
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                pictures.append(entry.name)
    pictures.sort()  # In place.
    folders.sort()
    return pictures, folders


def _brings_a_picture(stdin: TextIO) -> bool:
    buffer = getattr(stdin, "buffer", None)
    return isinstance(buffer, io.BufferedReader) and buffer.peek(8).startswith(PICTURES)


def _expand_glob(pattern: str) -> Iterator[str]:
    matches = sorted(set(_matches(pattern)))
    if not matches:
        yield pattern
    for match in matches:
        if os.path.isdir(match):
            yield from walk(match)
        else:
            yield match


def _matches(pattern: str) -> Iterator[str]:
    """Yield what a glob matches. A ``**`` leads through all folders below, hidden ones and links to others excepted.

    The library's own follows links, in a loop of them for ever, and fails in folders deeper than calls may be.
    """
    parts = pattern.split(os.sep)  # noqa: PTH206  (a path would lose what a pattern has)
    if ANY_DEPTH not in parts:
        yield from glob.iglob(pattern)
        return
    place = parts.index(ANY_DEPTH)
    rest = os.sep.join(dropwhile(ANY_DEPTH.__eq__, parts[place:]))
    waiting = list(glob.iglob(os.sep.join([*parts[:place], ""]))) if place else [""]
    if not rest:  # All of these folders, then: they are walked.
        yield from waiting if place else chain(*_listing(os.scandir(os.curdir)))
        return
    while waiting:
        folder = waiting.pop()
        yield from _matches(os.path.join(glob.escape(folder), rest))
        with suppress(OSError):
            waiting += [os.path.join(folder, name) for name in _listing(os.scandir(folder or os.curdir))[1]]


def _lines(stdin: TextIO) -> Iterator[str]:
    return (path for path in _separated(stdin) if path and path != STDIN)


def _separated(stdin: TextIO) -> Iterator[str]:
    """Yield each line as it comes; from the first NUL on, what stands between NULs, which may hold line ends."""
    by_nul, rest = False, ""
    for line in stdin:
        by_nul = by_nul or NUL in line
        if by_nul:
            *whole, rest = (rest + line).split(NUL)
            yield from whole
        else:
            yield line.rstrip("\r\n")
    yield rest
