"""From what the user typed (files, folders, globs, ``-``, URLs) to a stream of picture sources.

Nothing is collected: neither folders nor lists of any size cost memory, or delay the first answer.
"""

from __future__ import annotations

import codecs
import glob
import io
import os
from typing import TYPE_CHECKING

from flowercli.inference.patterns import count_below, expand_glob, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

STDIN = "-"
FILE_URL = "file:///"
# Of object stores, as pyarrow.fs takes them.
STORES = ("s3://", "gs://", "gcs://", "abfs://", "abfss://", "hdfs://")
NUL = "\0"
# How pictures begin that can be told from the name of a file by that.
PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"RIFF", b"\0\0\0")
MOST_ON_STDIN = 512 * 2**20
# Of a list on stdin, at once.
CHUNK = 2**16


def expand(arguments: Iterable[str], stdin: TextIO) -> Iterator[str]:
    """Yield the path or URL of each picture, in the order of the arguments.

    A folder gives its pictures (by suffix) and those of its subfolders, sorted; hidden ones are
    left out. A glob (``*``, ``?``, ``[…]``, ``**``) that the shell did not expand is expanded
    here, in the same order; one that matches nothing is passed on, so that it is reported like any missing file.
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
            yield from expand_glob(argument)
        else:
            yield argument


def how_many(arguments: Iterable[str]) -> int | None:
    """Return how many pictures there are, for people to see: slowly, so that those who answer are not held up.

    ``None`` where that cannot be known without reading a list, or asking a store.
    """
    count = 0
    for argument in arguments:
        if argument == STDIN or is_object(argument):
            return None
        if os.path.isdir(argument):
            count += count_below(argument)
        elif is_elsewhere(argument) or os.path.lexists(argument) or not glob.has_magic(argument):
            count += 1
        else:
            count += sum(1 for _ in expand_glob(argument))
    return count


def is_url(text: str) -> bool:
    """Tell whether the text is an ``http`` or ``https`` address rather than a path."""
    return text[:8].lower().startswith(("http://", "https://"))


def is_object(text: str) -> bool:
    """Tell whether the text is the address of something in an object store."""
    return text.startswith(STORES)


def is_elsewhere(argument: str) -> bool:
    """Tell whether an argument is no path: an address, or stdin."""
    return argument == STDIN or is_object(argument) or is_url(argument) or argument.startswith(FILE_URL)


def anywhere(argument: str, folder: str = "") -> str:
    """Return an argument, which was given in a folder, or in this one, as it holds from any."""
    # A pattern, or any bytes.
    return argument if is_elsewhere(argument) else os.path.abspath(os.path.join(folder, argument))  # noqa: PTH100


def _local(url: str) -> str:
    from urllib.request import url2pathname  # It takes as long as reading a picture.

    return url2pathname(url.removeprefix("file://"))


def picture_on(stdin: TextIO) -> bytes:
    """Return the picture that comes on stdin, cut off behind the most that is read of any."""
    return stdin.buffer.read(MOST_ON_STDIN + 1)


def _brings_a_picture(stdin: TextIO) -> bool:
    buffer = getattr(stdin, "buffer", None)
    return isinstance(buffer, io.BufferedReader) and buffer.peek(8).startswith(PICTURES)


def _lines(stdin: TextIO) -> Iterator[str]:
    return (path for path in _separated(stdin) if path and path != STDIN)


def _separated(stdin: TextIO) -> Iterator[str]:
    """Yield each line as it comes; from the first NUL on, what stands between NULs, which may hold line ends."""
    end, rest = "\n", ""
    for text in _as_it_comes(stdin):
        end = NUL if NUL in text else end
        *whole, rest = (rest + text).split(end)
        yield from whole if end == NUL else (line.rstrip("\r") for line in whole)
    yield rest if end == NUL else rest.rstrip("\r")


def _as_it_comes(stdin: TextIO) -> Iterator[str]:
    """Yield text as it comes: a list that NULs separate is one line to Python, which would wait for its end."""
    buffer = getattr(stdin, "buffer", None)
    if not isinstance(buffer, io.BufferedReader):
        yield from stdin
        return
    decoder = codecs.getincrementaldecoder(stdin.encoding)(stdin.errors or "strict")
    while chunk := buffer.read1(CHUNK):
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)
