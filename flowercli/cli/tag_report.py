"""What ``flowers tag`` says: a line a sidecar, or how many of which flower; and what it did, in words or as JSON."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.cli.classify_printing import tell_of_heif
from flowercli.cli.output import note, print_json, print_table, print_text, stdout_console, warn
from flowercli.cli.tables import LEAST, shortened
from flowercli.data.undo_list import command_to_undo
from flowercli.errors import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_OK
from flowercli.inference.classifier import Prediction, asked_as, in_words
from flowercli.inference.heif import NEEDS_HEIF
from flowercli.shown import counted, in_shell, one_line, probability
from flowercli.tagging.sidecar import lonely_raws
from flowercli.tagging.tagger import Did

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Result
    from flowercli.tagging.receipt import Receipt
    from flowercli.tagging.tagger import Tag, Tagger

DID_WIDTH, PERCENT_WIDTH, GAP = 7, 7, 2


class TagReport:
    """Counts what became of pictures and sidecars, and prints a line for each where that is wanted."""

    def __init__(
        self, classifier: Classifier, folder: Path, receipt: Receipt | None, *, in_lines: bool, as_json: bool
    ) -> None:
        self.in_lines = in_lines and not as_json
        self._as_json = as_json
        self._classifier, self._folder, self._receipt = classifier, folder, receipt
        self._width = max(map(len, classifier.answerable))
        self._sidecars: Counter[Did] = Counter()
        self._flowers: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[str] = Counter()
        self._rejected = 0
        self._tags: list[Tag] = []

    def take(self, result: Result, tagger: Tagger) -> None:
        """Tag a picture that was answered, and count what came of it."""
        outcome = result.outcome
        if not isinstance(outcome, Prediction):
            self._errors[outcome.code] += 1
            if outcome.code != NEEDS_HEIF:  # Of a phone's library that would be every line.
                warn(f"{one_line(result.path)}: {outcome.message}")
            return
        if outcome.rejected:
            self._rejected += 1
            return
        self._flowers[in_words(outcome.predicted_class), outcome.scientific_name or ""] += 1
        for tag in tagger.tag(result.path, outcome):
            self._tags += [tag] * self._as_json
            self._sidecars[tag.did] += 1
            if tag.why is not None:
                warn(f"{one_line(str(tag.sidecar))} is left as it is: {one_line(tag.why)}.")
            elif self.in_lines and tag.did is not Did.SAME:
                self._print_line(tag)

    def _print_line(self, tag: Tag) -> None:
        path = one_line(str(tag.sidecar))
        if sys.stdout.isatty():
            start = (
                f"{tag.did:<{DID_WIDTH}}  {tag.keyword:<{self._width}}  {probability(tag.confidence):>{PERCENT_WIDTH}}"
            )
            room = stdout_console().width - len(start) - GAP
            print_text(f"{start}  {shortened(path, max(LEAST, room), keep_end=True)}")
        else:
            print_text("\t".join((tag.did, tag.keyword, f"{tag.confidence:.4f}", path)))
        sys.stdout.flush()

    def said(self) -> str:
        """Return in a sentence what became of sidecars."""
        new, changed, same, left = (self._sidecars[did] for did in Did)
        counts = ((new, "new sidecar"), (changed, "changed sidecar"))
        parts = [counted(count, what) for count, what in counts if count] or ["no sidecar"]
        parts[-1] += " would be written" if self._receipt is None else " written"
        parts += [f"{same:,} had it already"] * bool(same)
        return ", ".join(parts + [f"{left:,} left as they are"] * bool(left)) + "."

    def to_undo(self) -> str:
        """Return a line with the command that takes it back; none where nothing was written."""
        if self._receipt is None or not self._receipt.is_begun:
            return ""
        return f"\nTo take that back: {command_to_undo(self._receipt.file)}"

    def end(self, *, is_watch: bool) -> int:
        """Say what was done and what helps, and return the exit code."""
        raws = sum(1 for _ in lonely_raws(str(self._folder)))
        if self._as_json:
            print_json(self._as_dict(raws))
        elif self._flowers and not self.in_lines:
            rows = [(flower, name, f"{count:,}") for (flower, name), count in self._flowers.most_common()]
            print_table(("Flower", "Scientific name", "Pictures"), rows, left=("Scientific name",))
        bad, met = self._errors.total(), self._flowers.total() + self._rejected + self._errors.total()
        self._tell(met, bad, raws)
        if self._sidecars[Did.LEFT]:
            return EXIT_FAILED
        return EXIT_BAD_INPUT if bad or not (met or is_watch) else EXIT_OK

    def _tell(self, met: int, bad: int, raws: int) -> None:
        if not met:
            warn("No pictures found.")
        note(f"{counted(met, 'picture')}: {self.said()}")
        if self._rejected:
            note(f"{counted(self._rejected, 'picture')} not surely of a flower that it knows: no sidecar for them.")
            note(f"What it knows: flowers models {in_shell(asked_as(self._classifier.bundle))}")
        if bad:
            warn(f"{bad} of {met} could not be read.")
        if raws:
            note(f"{counted(raws, 'raw file')} without a picture of that name beside: not looked at.")
        tell_of_heif(self._errors)
        if command := self.to_undo():
            note(command.strip())

    def _as_dict(self, raws: int) -> dict[str, Any]:
        receipt = self._receipt
        return {
            "folder": str(self._folder),
            "dry_run": receipt is None,
            "receipt": str(receipt.file) if receipt is not None and receipt.is_begun else None,
            "pictures": self._flowers.total() + self._rejected + self._errors.total(),
            "rejected": self._rejected,
            "errors": dict(self._errors.most_common()),
            "raw_files_without_picture": raws,
            "sidecars": {did.value: self._sidecars[did] for did in Did},
            "tags": [{**tag._asdict(), "sidecar": str(tag.sidecar)} for tag in self._tags],
        }
