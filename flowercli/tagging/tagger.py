"""Answers become keywords in sidecars: what was there is kept in the receipt first, and none is ever half written."""

from __future__ import annotations

import os
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flowercli.atomic import MEETS_ALL
from flowercli.errors import TaggingError
from flowercli.inference.classifier import in_words
from flowercli.monitoring.features import identity
from flowercli.shown import one_line
from flowercli.tagging.elements import XmpError
from flowercli.tagging.writing import MOST_BYTES, LeftAloneError, content_of
from flowercli.tagging.xmp import EMPTY, Record, Sidecar

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier, Prediction
    from flowercli.tagging.receipt import Receipt
    from flowercli.tagging.sidecar import Sidecars
    from flowercli.tagging.writing import Writer


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

    def __init__(self, classifier: Classifier, sidecars: Sidecars, receipt: Receipt | None, writer: Writer) -> None:
        self._sidecars, self._receipt = sidecars, receipt
        self._model = (one_line(classifier.bundle.path.name), identity(classifier.bundle), classifier.runtime.graph)
        self._writer = writer

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
        if self._receipt is not None:
            self._writer.enter(sidecar.parent)
        before = content_of(sidecar)
        after = Sidecar(EMPTY if before is None else before).with_answer(record)
        if after == before:
            return Did.SAME
        if len(after) > MOST_BYTES:  # It could be neither tagged again nor taken back.
            raise LeftAloneError(f"with the keyword it would have more than {MOST_BYTES / 2**20:g} MiB")
        if before is not None and not os.access(sidecar, os.W_OK):
            raise LeftAloneError("it may not be written to")
        if self._receipt is not None:
            self._writer.write(sidecar, after, before, partial(self._receipt.note, sidecar, before, after))
        return Did.NEW if before is None else Did.CHANGED
