"""Where photographs and answers lie: folders of this machine, and object stores, both through ``pyarrow.fs``."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TextIO

import pyarrow.fs as pafs

from flowercli.atomic import write_bytes
from flowercli.errors import BatchError, ImageError
from flowercli.inference.ahead import by_web
from flowercli.inference.decode import MAX_FILE_BYTES
from flowercli.inference.patterns import IMAGE_SUFFIXES
from flowercli.inference.sources import expand, is_object
from flowercli.shown import first_line
from flowercli.transfer.s3_answers import meaning

if TYPE_CHECKING:
    from flowercli.inference.ahead import Fetch

# These show an object when it is whole; elsewhere a file is written beside its place and moved there.
WHOLE_AT_ONCE = frozenset({"s3", "gcs"})
# A file of a few megabytes is then one request instead of three.
ONE_PUT = {"s3": "?allow_delayed_open=true"}
AWS_CODE = re.compile(r"AWS Error ([A-Z0-9_]+)")
PARTIAL = "_partial-"


class Place(NamedTuple):
    """A folder: its address without a slash at the end, and the file system and the path that it stands for."""

    address: str
    files: Any
    path: str

    @classmethod
    def at(cls, address: str) -> Self:
        """Return the place at an address of an object store, or at a path of this machine.

        Raises:
            BatchError: the address is none, or pyarrow was built without its file system.
        """
        if not is_object(address):
            path = os.path.abspath(address)  # noqa: PTH100  (as text: it may be any bytes)
            return cls(path, pafs.LocalFileSystem(), path)
        address = address.rstrip("/")
        return cls(address, *_store(address))

    @property
    def folder(self) -> Path | None:
        """The folder of this machine, if it is one."""
        return None if is_object(self.address) else Path(self.path)

    def below(self, name: str) -> Self:
        """Return a folder in this one."""
        return self._replace(address=f"{self.address}/{name}", path=f"{self.path}/{name}")

    def names(self) -> set[str]:
        """Return the names of the files in this folder that hold something; none if there is no such folder."""
        with explained(self.address):
            found = self.files.get_file_info(pafs.FileSelector(self.path, allow_not_found=True))
        return {entry.base_name for entry in found if entry.size}

    def read(self, name: str) -> bytes | None:
        """Return what a file in this folder holds, ``None`` if there is none."""
        try:
            with explained(f"{self.address}/{name}"), self.files.open_input_file(f"{self.path}/{name}") as file:
                content: bytes = file.read()
                return content
        except FileNotFoundError:
            return None

    def write(self, name: str, content: memoryview) -> None:
        """Put a file into this folder, which is made; nobody ever sees half of it, whoever is killed."""
        target = f"{self.path}/{name}"
        with explained(f"{self.address}/{name}"):
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_bytes(Path(target), content)
            elif self.files.type_name in WHOLE_AT_ONCE:
                self._put(target, content)
            else:
                temporary = f"{self.path}/{PARTIAL}{uuid.uuid4().hex}"
                self._put(temporary, content)
                self.files.move(temporary, target)

    def _put(self, path: str, content: memoryview) -> None:
        with self.files.open_output_stream(path) as stream:
            stream.write(content)


def listed(arguments: Iterable[str], stdin: TextIO) -> Iterator[str]:
    """Yield the pictures that ``sources.expand`` gives, and those of stores.

    Raises:
        BatchError: a store has nothing at an address, or does not say.
    """
    for argument in arguments:
        yield from photographs(argument) if is_object(argument) else expand([argument], stdin)


def photographs(address: str) -> Iterator[str]:
    """Yield the addresses of the pictures below a folder of a store, in the order of ``sources.walk``; of one, itself.

    Raises:
        BatchError: there is nothing of that name, or it may not be listed.
    """
    files, path = _store(address.rstrip("/"))
    base, _ = _parts(address)
    _, root = _file_system(base)
    with explained(address):
        (found,) = files.get_file_info([path])
    if found.type is pafs.FileType.NotFound:
        raise BatchError(f"There is nothing at {address}.", hint="Check the address: the bucket, and what follows it.")
    if found.type is pafs.FileType.File:
        yield address
        return
    waiting = [path]
    while waiting:
        pictures, folders = _listing(files, waiting.pop(), address)
        yield from (f"{base}/{picture.removeprefix(root).lstrip('/')}" for picture in pictures)
        waiting += reversed(folders)


def _listing(files: Any, folder: str, address: str) -> tuple[list[str], list[str]]:
    with explained(address):
        found = files.get_file_info(pafs.FileSelector(folder))
    seen = [entry for entry in found if not entry.base_name.startswith(".")]
    folders = [entry.path for entry in seen if entry.type is pafs.FileType.Directory]
    pictures = [
        entry.path
        for entry in seen
        if entry.type is pafs.FileType.File and os.path.splitext(entry.base_name)[1].lower() in IMAGE_SUFFIXES
    ]
    return sorted(pictures), sorted(folders)


def fetcher(path: str) -> Fetch | None:
    """Return what fetches a picture: an object, or what lies on the web; ``None`` for one of this machine."""
    return fetch_object if is_object(path) else by_web(path)


def fetch_object(address: str) -> bytes:
    """Return a picture of an object store.

    Raises:
        ImageError: it is not there, not permitted, too large, or cannot be fetched.
    """
    try:
        files, path = _store(address)
        with files.open_input_file(path) as file:
            if file.size() > MAX_FILE_BYTES:
                raise ImageError("too_large", f"It is larger than {MAX_FILE_BYTES // 2**20} MiB.")
            content: bytes = file.read()
            return content
    except FileNotFoundError as error:
        raise ImageError("not_found", "There is no such object.") from error
    except BatchError as error:
        raise ImageError("download_failed", error.message) from error
    except OSError as error:
        known = _meaning(error)
        if _aws_code(error) == "AccessDenied" or isinstance(error, PermissionError):
            raise ImageError("not_permitted", "Reading it is not permitted.") from error
        why = known[0].replace("{where}", "The store") if known else f"It cannot be fetched: {first_line(error)}"
        raise ImageError("download_failed", why) from error


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Say what a file system means that refuses.

    Raises:
        BatchError: it does.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) or not is_object(where):
            raise
        message, hint = _meaning(error) or (f"{{where}}: {first_line(error)}", None)
        raise BatchError(message.replace("{where}", where), hint=hint) from error


def _meaning(error: OSError) -> tuple[str, str] | None:
    return meaning([_aws_code(error)])


def _aws_code(error: OSError) -> str:
    """Return the code of S3 in an error of Arrow, which writes NoSuchBucket as NO_SUCH_BUCKET."""
    found = AWS_CODE.search(str(error))
    return found[1].title().replace("_", "") if found else ""


def _store(address: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it; a key is taken as it is written, ``%`` and ``?`` too."""
    base, key = _parts(address)
    files, root = _file_system(base)
    return files, f"{root.rstrip('/')}/{key}" if key else root


def _parts(address: str) -> tuple[str, str]:
    """Return scheme and bucket of an address, and the key behind them."""
    scheme, _, rest = address.partition("://")
    authority, _, key = rest.partition("/")
    return f"{scheme}://{authority}", key


@cache
def _file_system(base: str) -> tuple[Any, str]:
    scheme = base.partition(":")[0]
    try:
        with explained(base):
            files, root = pafs.FileSystem.from_uri(base + ONE_PUT.get(scheme, ""))
    except (ValueError, NotImplementedError) as error:  # pyarrow's own errors are of these.
        raise BatchError(f"{base} is no usable address: {first_line(error)}") from error
    return files, root
