"""The photographs that a flower is taught from: read once, those that cannot be read and those that are copies told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from flowercli.data.class_names import class_name, composed
from flowercli.data.duplicates import HASH_DECODE_SIDE, exact_groups, near_groups, perceptual_hash
from flowercli.data.inside import leads_outside, not_portable
from flowercli.data.sorting import REFUSED
from flowercli.errors import DataError, ImageError, UsageError
from flowercli.inference.classifier import in_words
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
    is_short = 0 < len(name) <= LONGEST_NAME and one_line(name) == name and name != REFUSED
    if not is_short or set(name) & set("/\\,") or name.startswith(".") or leads_outside(name) or not_portable(name):
        message = f"'{text[:LONGEST_NAME]}' is no name for a flower: letters, digits, spaces, _ and - make one."
        raise UsageError(message, hint="flowers teach red_poppy photographs/")
    return name


def known_as(text: str, class_names: Sequence[str]) -> str:
    """Return which of these names is meant, however it is written, or the class name of a new flower.

    Raises:
        UsageError: it is none of them, and can be no class name.
    """
    written = {composed(in_words(name)).casefold(): name for name in reversed(class_names)}
    if text in class_names:
        return text
    if found := written.get(composed(in_words(text)).casefold()):
        return found
    name = checked_name(text)
    return written.get(in_words(name).casefold(), name)


def lessons_in(folder: Path) -> dict[str, list[str]]:
    """Return the paths of the photographs in a folder that has a subfolder a flower, by the names of these.

    Raises:
        DataError: it is not there, or has no such subfolder.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", hint="flowers teach --folder DIR   (a subfolder a flower)")
    found: dict[str, list[str]] = {}
    for each in sorted(folder.iterdir()):
        if each.is_dir() and not each.name.startswith("."):
            found[each.name] = list(walk(str(each)))
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


def check_number(name: str, paths: Sequence[str]) -> None:
    """Find before any is looked at that there are too many photographs of a flower, or too few.

    Raises:
        DataError: there are.
    """
    if (count := len(set(paths))) > MOST:
        message = f"{counted(count, 'photograph')} of {name} are more than {MOST}."
        raise DataError(message, hint="Give fewer, or train on them: flowers train --data DIR")
    if count < FEWEST:
        _too_few(name, count)


def check_apart(lessons: Sequence[Lesson], taught: Mapping[str, Sequence[str]]) -> None:
    """Refuse a photograph that stands for two flowers: none of them would be learnt.

    Args:
        lessons: what is to be taught.
        taught: the sha256 of photographs that were taught before, by class name.

    Raises:
        DataError: there is one.
    """
    shown = {sha256: name for name, several in taught.items() for sha256 in several}
    for lesson in lessons:
        for path, sha256 in zip(lesson.paths, lesson.sha256, strict=True):
            if (other := shown.setdefault(sha256, lesson.name)) != lesson.name:
                message = f"{one_line(path)} is given for {lesson.name}, and was for {other}."
                raise DataError(
                    message, hint=f"Leave it out of one, or first: flowers teach --forget {in_shell(other)}"
                )


def _check_enough(lesson: Lesson) -> None:
    if len(lesson.seen) >= FEWEST:
        return
    left = [f"{len(lesson.copies)} are copies" if lesson.copies else ""]
    left += [f"{path} cannot be read: {why}" for path, why in lesson.unreadable[:1]]
    why = "; ".join(filter(None, left))
    _too_few(lesson.name, len(lesson.seen), why)


def _too_few(name: str, count: int, why: str = "") -> NoReturn:
    message = f"{counted(count, 'photograph')} of {name}: at least {FEWEST} are needed"
    raise DataError(f"{message} ({why})." if why else f"{message}.", hint=f"flowers teach {in_shell(name)} FOLDER")


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
