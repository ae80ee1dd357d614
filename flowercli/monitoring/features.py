"""What is kept of an answer: numbers about the picture and the answer, from which no picture can be made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from flowercli.inference.classifier import DIGITS, Prediction

if TYPE_CHECKING:
    from flowercli.bundle import Bundle

# What decides a model's answers, and is the same in its folder and in its lone .onnx.
IDENTITY = ("temperature", "rejection_threshold", "known", "history")
IDENTITY_OUTSIDE = ("architecture", "label_names", "pretrained_cfg")
# The least and the most that a feature can be. Sides as 32 bits hold them, which no picture needs.
RANGES = {
    "confidence": (0, 1),
    "known": (0, 1),
    "brightness": (0, 255),
    "width": (0, 2**31 - 1),
    "height": (0, 2**31 - 1),
}
FEATURES = ("class_index", *RANGES)
NUMBERS = "iuf"


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer and what it was made from, never the picture itself.

    ``width`` and ``height`` are those of the upright picture as it was sent, in pixels; ``brightness`` is the mean of
    the pixels that the model saw, 0…255.
    """

    answer: Prediction
    width: int
    height: int
    brightness: float


@dataclass(frozen=True)
class Sample:
    """The features of N answers.

    ``class_index`` ``[N]`` ``int64``; ``confidence``, ``known`` (which decides on rejection), ``brightness``, ``width``
    and ``height`` ``[N]`` ``float64``.
    """

    class_index: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    known: npt.NDArray[np.float64]
    brightness: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]

    @classmethod
    def of(cls, columns: Mapping[str, npt.ArrayLike]) -> Self:
        """Make one of columns by name, whatever types of numbers they hold.

        Raises:
            ValueError: one holds what is no number, or is no number of a class.
        """
        arrays: dict[str, Any] = {name: _rounded(values) for name, values in columns.items()}
        index = arrays["class_index"]
        # What an integer of 64 bits does not hold is as little the number of a class as a half is.
        if (index % 1).any() or (np.abs(index) >= 2**63).any():
            raise ValueError("class_index is no whole number")
        return cls(**arrays | {"class_index": index.astype(np.int64)})

    def check(self, classes: int | npt.NDArray[np.int64]) -> None:
        """Refuse what no answer of a model with so many classes, or each of its own model's, can be.

        Raises:
            ValueError: there is such a number.
        """
        if not ((self.class_index >= 0) & (self.class_index < classes)).all():
            raise ValueError("it has classes that the model does not have")
        for name, (least, most) in RANGES.items():
            values = getattr(self, name)
            if not ((values >= least) & (values <= most)).all():
                raise ValueError("it has numbers that no answer has")

    def __len__(self) -> int:
        return len(self.class_index)

    @property
    def megapixels(self) -> npt.NDArray[np.float64]:
        """The size of each picture, ``[N]``."""
        return self.width * self.height / 1e6

    def take(self, which: Any) -> Self:
        """Return the answers that an index, a slice or a mask selects."""
        return type(self)(**{name: values[which] for name, values in vars(self).items()})


def _rounded(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    found = np.asarray(values)
    if found.dtype.kind in NUMBERS:
        # Rounding multiplies: the largest numbers become infinite, and are refused as such.
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = found.astype(np.float64).round(DIGITS)
        if np.isfinite(rounded).all():
            return rounded
    raise ValueError("not all of it is numbers")


def describe(observed: Sequence[Observation]) -> Sample:
    """Return the features of some answers."""
    answers = {name: [getattr(one.answer, name) for one in observed] for name in ("class_index", "confidence", "known")}
    pictures = {name: [getattr(one, name) for one in observed] for name in ("brightness", "width", "height")}
    return Sample.of({**answers, **pictures})


def identity(bundle: Bundle) -> str:
    """Return a sha256 that is equal for all files of one trained model and differs between models.

    Not the hash of ``config.json``, which changes with every export and evaluation.
    """
    parts = [bundle.config[key] for key in IDENTITY_OUTSIDE] + [bundle.section.get(key) for key in IDENTITY]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
