"""Write files so that a reader, or a killed process, never meets half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTIAL_PREFIX = ".partial-"


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a temporary name in the same folder, then rename it into place."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes under a temporary name in the same folder, then rename it into place."""
    descriptor, name = tempfile.mkstemp(prefix=PARTIAL_PREFIX, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes it private; this is an ordinary file.
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_file(source: Path, target: Path) -> None:
    """Move a finished file over ``target``, across file systems too, without a moment of half a file."""
    temporary = target.with_name(PARTIAL_PREFIX + target.name)
    try:
        shutil.move(source, temporary)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that becomes ``path`` if the block succeeds.

    Its name starts with ``.partial-``; what a killed process leaves under it is safe to delete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{PARTIAL_PREFIX}{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


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
