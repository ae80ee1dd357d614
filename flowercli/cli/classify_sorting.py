"""``--copy-to`` and ``--move-to`` of ``flowers classify``: pictures go into folders by flower as they are answered."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from flowercli.atomic import MEETS_ALL
from flowercli.cli.output import note, warn
from flowercli.data.sorting import outside, sorting
from flowercli.data.undo_list import command_to_undo
from flowercli.errors import UsageError
from flowercli.inference.classifier import Prediction
from flowercli.inference.sources import STDIN, is_object, is_url
from flowercli.shown import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from flowercli.data.sorting import Sorter
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Result


@contextmanager
def sorted_into(
    classifier: Classifier, copy_to: Path | None, move_to: Path | None
) -> Iterator[tuple[Callable[[Iterable[str]], Iterator[str]], Callable[[Iterable[Result]], Iterator[Result]]]]:
    """Yield what leaves out sources in the folder, and what hands on results whose pictures are where they belong.

    At the end it is said where that is.

    Raises:
        UsageError: both folders are given, or a class has a name that no folder can have.
    """
    folder = copy_to or move_to
    if folder is None or (copy_to and move_to):
        raise UsageError("--copy-to and --move-to are two ways to sort.", hint="Give one of them.")
    waiting = partial(note, f"Another run sorts pictures into {folder}: waiting for its end.")
    with sorting(folder, classifier.answerable, move=copy_to is None, waiting=waiting) as sorter:

        def sort(results: Iterable[Result]) -> Iterator[Result]:
            for result in results:
                _place(sorter, result)
                yield result

        try:
            yield partial(outside, folder), sort
        finally:
            _tell(sorter, folder, "Moved" if copy_to is None else "Copied")


def _place(sorter: Sorter, result: Result) -> None:
    if not isinstance(result.outcome, Prediction):
        return
    if result.path == STDIN or is_url(result.path) or is_object(result.path):
        warn(f"{one_line(result.path)} is no file here: it is not sorted.")
        return
    try:
        sorter.place(result.path, None if result.outcome.rejected else result.outcome.predicted_class)
    except OSError as error:
        if error.errno in MEETS_ALL:
            raise
        warn(f"{one_line(result.path)} stays where it is: {error.strerror}.")


def _tell(sorter: Sorter, folder: Path, did: str) -> None:
    if sorter.counts:
        parts = ", ".join(f"{name} {count}" for name, count in sorter.counts.most_common())
        note(f"{did} {counted(sum(sorter.counts.values()), 'picture')} into {folder}: {parts}")
        note(f"To take that back: {command_to_undo(folder / sorter.list.name)}")
