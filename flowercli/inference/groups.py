"""Several photographs of one plant, one answer: which belong together, and what they say together.

Photographs that follow each other are put together, so that nothing is held but sums. Their probabilities are
multiplied, to the power of one over the square root of their number: as evidence they are between one photograph and as
many independent ones. On what that was measured: docs/classify.md.
"""

from __future__ import annotations

import math
import os
import re
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from flowercli.errors import UsageError
from flowercli.inference.classifier import Prediction
from flowercli.inference.decode import MAX_EXIF_BYTES, identify, open_file
from flowercli.inference.pipeline import Result
from flowercli.inference.sources import STDIN, is_elsewhere
from flowercli.inference.structure import check_structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from flowercli.inference.classifier import Classifier

FOLDER, NAME, TIME = "folder", "name", "time"
HOW = "--group folder, --group name or --group time:30s"
UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}
SPAN = re.compile(r"(\d{1,6})(s|m|min|h)?")
# What is behind the name of a plant: rose_1, rose-02, rose (3); not the numbers of cameras, which are longer,
# nor dates and times.
NUMBER = re.compile(r"(?<!\d\d[-._ ]\d\d)[ _.-]+\d{1,3}$| ?\(\d{1,3}\)$")
# Exif 2.32: where the part about the exposure is, when it was, and how that is written.
EXPOSURE, TAKEN, FORM = 0x8769, 0x9003, "%Y:%m:%d %H:%M:%S"
# Cameras say no zone: times are those of their clocks.
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
# No single photograph excludes a flower, or is sure to know one.
LEAST_SHARE = 1e-6


def parse_group(text: str) -> Callable[[str], object]:
    """Return what tells of a path to which group it belongs, the same for those that follow each other in one.

    Raises:
        UsageError: the text is none of those that there are.
    """
    kind, _, span = text.partition(":")
    if text in (FOLDER, NAME):
        return {FOLDER: by_folder, NAME: by_name}[text]
    found = SPAN.fullmatch(span)
    if kind != TIME or not found:
        raise UsageError(f"--group {text}: what belongs together?", hint=HOW)
    return ByTime(int(found[1]) * UNITS[found[2] or "s"])


def by_folder(path: str) -> str:
    """Return the folder that a picture lies in; what lies elsewhere, or came on stdin, is alone."""
    return path if _is_alone(path) else os.path.split(path)[0] or os.curdir


def by_name(path: str) -> str:
    """Return the path of a picture without its ending and a number of up to three digits before that."""
    if _is_alone(path):
        return path
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    return os.path.join(folder, NUMBER.sub("", stem) or stem)


class ByTime:
    """Puts pictures of one folder together that were taken at most ``seconds`` after the one before.

    One that does not say when it was taken is alone.
    """

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self.number, self._folder, self._taken = 0, "", -math.inf

    def __call__(self, path: str) -> int:
        """Return the number of the group of the next picture."""
        taken = None if _is_alone(path) else taken_at(path)
        folder = os.path.split(path)[0]
        if taken is None or folder != self._folder or abs(taken - self._taken) > self._seconds:
            self.number += 1
        self._folder, self._taken = folder, -math.inf if taken is None else taken
        return self.number


def taken_at(path: str) -> float | None:
    """Return when a picture was taken, in seconds, by its Exif and the clock of the camera; ``None`` without that."""
    try:
        with open_file(path) as file:
            check_structure(file)
            with identify(file) as image:
                if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
                    return None
                # Not its own: that of a PNG decodes the picture.
                said = Image.Image.getexif(image).get_ifd(EXPOSURE).get(TAKEN, "")
        return (datetime.strptime(said.strip("\0 "), FORM) - EPOCH).total_seconds()  # noqa: DTZ007  (no zone)
    except Exception:  # noqa: BLE001  (of nonsense Pillow's parser raises almost anything)
        return None


def _is_alone(path: str) -> bool:
    return path == STDIN or is_elsewhere(path)


class Together:
    """What some photographs say together, added up one after the other."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._names = classifier.answerable
        self._log_shares: Any = np.zeros(len(self._names))
        self._log_odds, self._count = 0.0, 0

    def add(self, answer: Prediction) -> None:
        """Add the answer about one, which lists all classes."""
        values = answer.all_predictions
        self._log_shares += np.log([max(values[name], LEAST_SHARE) for name in self._names])
        known = min(max(answer.known, LEAST_SHARE), 1 - LEAST_SHARE)
        self._log_odds += math.log(known / (1 - known))
        self._count += 1

    def answer(self, top_k: int) -> Prediction:
        """Return the answer about all: of ``known`` the mean of its log odds."""
        scaled = self._log_shares / math.sqrt(self._count)
        shares = np.exp(scaled - scaled.max())
        class_names = self._classifier.bundle.class_names
        probabilities = np.zeros(len(class_names), dtype=np.float32)
        probabilities[[class_names.index(name) for name in self._names]] = shares / shares.sum()
        known = 1 / (1 + math.exp(-self._log_odds / self._count))
        return self._classifier.prediction(probabilities, known, top_k)


def grouped(
    results: Iterable[Result], group: Callable[[str], object], classifier: Classifier, top_k: int
) -> Iterator[Result]:
    """Yield one result a group, after those of its pictures that cannot be read.

    Args:
        results: about each picture, with all classes.
        group: of :func:`parse_group`.
        classifier: whose answers they are.
        top_k: how many classes each answer lists; 0 for all.
    """
    for _, members in groupby(results, lambda result: _key(result, group)):
        together, paths = Together(classifier), list[str]()
        for result in members:
            if not isinstance(result.outcome, Prediction):
                yield result
                continue
            together.add(result.outcome)
            paths.append(result.path)
        if paths:
            yield Result(_label(paths, group), together.answer(top_k), tuple(paths))


def _key(result: Result, group: Callable[[str], object]) -> object:
    """Return the group of a result; when a picture was taken that cannot be read, nobody asks."""
    if isinstance(group, ByTime) and not isinstance(result.outcome, Prediction):
        return group.number
    return group(result.path)


def _label(paths: Sequence[str], group: Callable[[str], object]) -> str:
    """Return what a group is called: its folder, what the names of its pictures share, or the first of them."""
    is_named = group is by_folder or (group is by_name and len(paths) > 1)
    return str(group(paths[0])) if is_named else paths[0]
