"""What ``flowers classify`` does with its answers as they come, and what it says when all are there."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from flowercli.cli.classify_output import counter, printing
from flowercli.cli.options import Format
from flowercli.cli.output import note, warn
from flowercli.errors import EXIT_BAD_INPUT
from flowercli.inference.classifier import Prediction, asked_as
from flowercli.inference.heif import NEEDS_HEIF
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowercli.cli.answer_file import AnswerFile
    from flowercli.cli.classify_output import Output
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Result

# What became of a picture, beside the codes of errors.
ANSWERED, REJECTED = "answered", "rejected"


def print_all(
    results: Iterable[Result],
    classifier: Classifier,
    output: Output,
    file: AnswerFile | None,
    arguments: Sequence[str],
) -> int:
    """Print results as they come, say at the end what helps, and return the exit code.

    Args:
        results: what came of each picture.
        classifier: whose answers they are.
        output: how they are printed.
        file: where to, part by part; elsewhere as ``output`` says.
        arguments: what was typed, to count the pictures while they are answered.
    """
    met: Counter[str] = Counter()
    missing = None
    before = 0 if file is None or file.before is None else file.before.count
    printed = printing(classifier, output) if file is None else file.printing()
    with printed as show, counter(output, arguments, before) as count:
        for result in results:
            show(result)
            for _ in result.members or (result.path,):
                count()
            met[kind := _kind(result)] += len(result.members) or 1
            missing = missing or (result.path if kind == "not_found" else None)
    bad = met.total() - met[ANSWERED] - met[REJECTED]
    if before and not met:
        note("Nothing was missing.")
    else:
        _say_what_helps(met, bad, classifier, output)
    if missing is not None:
        _say_what_is_like(missing)
    return EXIT_BAD_INPUT if bad or not (met or before) else 0


def _kind(result: Result) -> str:
    """Return whether a picture was answered or rejected, or the code of what keeps it from that."""
    if isinstance(result.outcome, Prediction):
        return REJECTED if result.outcome.rejected else ANSWERED
    return result.outcome.code


def _say_what_helps(met: Counter[str], bad: int, classifier: Classifier, output: Output) -> None:
    if not met:
        warn("No pictures found.")
    elif bad and output.form is not Format.JSON:
        warn(f"{bad} of {met.total()} could not be read.")
    tell_of_heif(met)
    if met[REJECTED] and output.form is Format.TABLE:
        note(f"What it knows: flowers models {in_shell(asked_as(classifier.bundle))}   (other models: flowers models)")


def tell_of_heif(met: Counter[str]) -> None:
    """Say what reads HEIC where a picture was one, and nothing here reads it."""
    if met[NEEDS_HEIF]:
        from flowercli.installation import add_extra

        note(f"To read HEIC pictures: {add_extra('heif')}")


def _say_what_is_like(missing: str) -> None:
    """Name the file that may have been meant by the first that is not there."""
    import difflib

    folder, name = os.path.split(missing)
    with suppress(OSError):
        for like in difflib.get_close_matches(name, os.listdir(folder or os.curdir), 1):
            note(f"Did you mean {in_shell(os.path.join(folder, like))}?")
