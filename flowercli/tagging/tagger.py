"""Answers become keywords in sidecars: what was there is kept in the receipt first, and none is ever half written."""

from __future__ import annotations

import os
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from flowercli.atomic import MEETS_ALL, put_in_place, scratch_folder, sweep_scratch
from flowercli.errors import TaggingError
from flowercli.inference.classifier import in_words
from flowercli.monitoring.features import identity
from flowercli.shown import one_line
from flowercli.tagging.elements import XmpError
from flowercli.tagging.receipt import LOCK, LeftAloneError, content_of
from flowercli.tagging.xmp import EMPTY, Record, Sidecar

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier, Prediction
    from flowercli.tagging.receipt import Receipt
    from flowercli.tagging.sidecar import Sidecars


class Did(StrEnum):
    """What became of a sidecar, or would."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    LEFT = "left"


class Tag(NamedTuple):
    """A sidecar and the answer that is in it, or why it was left alone."""

    picture: str
    sidecar: Path
    did: Did
    keyword: str
    confidence: float
    why: str | None = None


class Tagger:
    """Writes answers into sidecars; without a receipt it only says what it would do."""

    def __init__(self, classifier: Classifier, sidecars: Sidecars, receipt: Receipt | None) -> None:
        self._sidecars, self._receipt = sidecars, receipt
        self._model = (one_line(classifier.bundle.path.name), identity(classifier.bundle), classifier.runtime.graph)
        self._place = ExitStack()
        self._folder: Path | None = None
        self._scratch: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._place.close()

    def tag(self, picture: str, answer: Prediction) -> list[Tag]:
        """Write an answer that was not rejected into the sidecars that are a picture's.

        Raises:
            TaggingError: a disk is full, or the receipt cannot be written: nothing more can be.
        """
        keyword = one_line(in_words(answer.predicted_class))
        record = Record(keyword, answer.scientific_name or "", answer.confidence, *self._model)
        tags = []
        for sidecar in self._sidecars.of(picture):
            did, why = Did.LEFT, None
            try:
                did = self._write(sidecar, record)
            except (XmpError, LeftAloneError) as error:
                why = str(error)
            except OSError as error:
                why = error.strerror or str(error)
                if error.errno in MEETS_ALL:
                    raise TaggingError(f"{sidecar} cannot be written: {why}.") from error
            tags.append(Tag(picture, sidecar, did, keyword, answer.confidence, why))
        return tags

    def _write(self, sidecar: Path, record: Record) -> Did:
        self._enter(sidecar.parent)
        before = content_of(sidecar)
        after = Sidecar(EMPTY if before is None else before).with_answer(record)
        if after == before:
            return Did.SAME
        if before is not None and not os.access(sidecar, os.W_OK):
            raise LeftAloneError("it may not be written to")
        if self._receipt is not None:
            self._replace(self._receipt, sidecar, before, after)
        return Did.NEW if before is None else Did.CHANGED

    def _enter(self, folder: Path) -> None:
        """Be in a folder: what a killed run left there goes, and what this one needs in another."""
        if folder != self._folder:
            self._place.close()
            self._folder, self._scratch = folder, None
            if self._receipt is not None:
                sweep_scratch(LOCK, folder)

    def _replace(self, receipt: Receipt, sidecar: Path, before: bytes | None, after: bytes) -> None:
        """Write a sidecar beside its place, and rename it; other names of the old file, as of a backup, keep that."""
        if self._scratch is None:
            self._scratch = self._place.enter_context(scratch_folder(LOCK, sidecar.parent))
        temporary = self._scratch / "sidecar"
        temporary.write_bytes(after)
        receipt.note(sidecar, before, after)
        if content_of(sidecar) != before:
            raise LeftAloneError("another program is writing it")
        put_in_place(temporary, sidecar)
