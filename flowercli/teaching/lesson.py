"""The photographs that a flower is taught from: read once, those that cannot be read and those that are copies told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flowercli.data.class_names import class_name, composed
from flowercli.data.duplicates import HASH_DECODE_SIDE, exact_groups, near_groups, perceptual_hash
from flowercli.errors import DataError, ImageError, UsageError
from flowercli.inference.cpu import available_cores
from flowercli.inference.decode import open_file
from flowercli.inference.patterns import walk
from flowercli.inference.pipeline import ordered_map
from flowercli.inference.preprocess import load_upright
from flowercli.progress import Advance, untold
from flowercli.shown import counted, in_shell, one_line
from flowercli.teaching.exemplars import Seen, see

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier

FEWEST = 3
# More than a hundred teach nothing that these do not; training is for them.
MOST = 500
LONGEST_NAME = 100


@dataclass(frozen=True)
class Lesson:
    """A flower, what the model sees of its photographs, and what was left out.

    ``sha256`` are those of the files. ``unreadable`` are paths with the reason; ``copies`` paths, each with that of the
    photograph that it is a copy of, or nearly: of these, one counts.
    """

    name: str
    seen: list[Seen]
    sha256: list[str]
    paths: list[str]
    unreadable: list[tuple[str, str]]
    copies: list[tuple[str, str]]


class _Read(NamedTuple):
    seen: Seen
    sha256: str
    perceptual_hash: int


def checked_name(text: str) -> str:
    """Return the class name for what somebody calls a flower: ``Gänseblümchen``, ``red poppy``, ``roses``.

    Raises:
        UsageError: it can be no class name.
    """
    name = class_name("_".join(composed(text).split()))
    if (
        not name
        or len(name) > LONGEST_NAME
        or one_line(name) != name
        or set(name) & set("/\\,")
        or name.startswith(".")
    ):
        message = f"'{text[:LONGEST_NAME]}' is no name for a flower: letters, digits, spaces, _ and - make one."
        raise UsageError(message, hint="flowers teach red_poppy photographs/")
    return name


def lessons_in(folder: Path) -> dict[str, list[str]]:
    """Return the paths of the photographs in a folder that has a subfolder a flower, by class name.

    Raises:
        DataError: it is not there, or has no such subfolder.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", hint="flowers teach --folder DIR   (a subfolder a flower)")
    found: dict[str, list[str]] = {}
    for each in sorted(folder.iterdir()):
        if each.is_dir() and not each.name.startswith("."):
            found.setdefault(checked_name(each.name), []).extend(walk(str(each)))
    if not found:
        message = f"{folder} has no subfolders: one is needed for each flower, called as it is."
        raise DataError(message, hint=f"Of one flower: flowers teach NAME {in_shell(folder)}")
    return found


def read_lesson(classifier: Classifier, name: str, paths: Iterable[str], advance: Advance = untold) -> Lesson:
    """Read the photographs of a flower, and ask a model what it sees of each.

    Raises:
        DataError: too few of them can be read and are no copies, or there are too many.
    """
    listed = list(dict.fromkeys(paths))
    if len(listed) > MOST:
        message = f"{counted(len(listed), 'photograph')} of {name} are more than {MOST}."
        raise DataError(message, hint="Give fewer, or train on them: flowers train --data DIR")
    unreadable: list[tuple[str, str]] = []
    read: list[tuple[str, _Read]] = []
    for path, found in zip(
        listed, ordered_map(lambda one: _read(classifier, one), listed, available_cores()), strict=True
    ):
        advance(f"Looking at {name}", len(listed))
        if isinstance(found, str):
            unreadable.append((path, found))
        else:
            read.append((path, found))
    copies = _copies([one for _, one in read])
    kept = [each for place, each in enumerate(read) if place not in copies]
    lesson = Lesson(
        name,
        [one.seen for _, one in kept],
        [one.sha256 for _, one in kept],
        [path for path, _ in kept],
        unreadable,
        [(read[copy][0], read[first][0]) for copy, first in sorted(copies.items())],
    )
    _check_enough(lesson)
    return lesson


def _check_enough(lesson: Lesson) -> None:
    if len(lesson.seen) >= FEWEST:
        return
    left = [f"{len(lesson.copies)} are copies" if lesson.copies else ""]
    left += [f"{path} cannot be read: {why}" for path, why in lesson.unreadable[:1]]
    why = "; ".join(filter(None, left))
    message = f"{counted(len(lesson.seen), 'photograph')} of {lesson.name}: at least {FEWEST} are needed"
    raise DataError(
        f"{message} ({why})." if why else f"{message}.", hint=f"flowers teach {in_shell(lesson.name)} FOLDER"
    )


def _read(classifier: Classifier, path: str) -> _Read | str:
    try:
        with open_file(path) as file:
            content = file.read()
        seen = see(classifier, content)
        hashed = perceptual_hash(load_upright(content, HASH_DECODE_SIDE))
        return _Read(seen, hashlib.sha256(content).hexdigest(), hashed)
    except OSError as error:
        return f"{error.strerror or error}."
    except ImageError as error:
        return error.message


def _copies(read: Sequence[_Read]) -> dict[int, int]:
    """Return the place of each copy with that of what it is a copy of."""
    exact = exact_groups([one.sha256 for one in read])
    near = near_groups([one.perceptual_hash for one in read])
    return {copy: group[0] for group in (*near, *exact) for copy in group[1:]}
