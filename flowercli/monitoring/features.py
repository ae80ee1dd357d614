"""What is kept of an answer: numbers about the picture and the answer, from which no picture can be made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from flowercli.inference.novelty import Novelty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from flowercli.bundle import Bundle
    from flowercli.inference.classifier import Prediction

# What decides a model's answers, and is the same in its folder and in its lone .onnx.
IDENTITY = ("temperature", "rejection_threshold", "novelty", "history")
IDENTITY_OUTSIDE = ("architecture", "label_names", "pretrained_cfg")
STORED_DTYPE = np.dtype("<f2")


@dataclass(frozen=True, slots=True)
class Observation:
    """One answer and what it was made from, never the picture itself.

    ``embedding`` is ``float32`` ``[D]``; ``width`` and ``height`` are those of the upright picture as it was sent, in
    pixels; ``brightness`` is the mean of the pixels that the model saw, 0…255.
    """

    answer: Prediction
    embedding: npt.NDArray[np.float32]
    width: int
    height: int
    brightness: float


@dataclass(frozen=True)
class Sample:
    """The features of N answers.

    ``class_index`` ``[N]`` ``int64``; ``confidence``, ``novelty`` (the distance that decides on rejection, NaN where
    the model has none), ``brightness``, ``width``, ``height`` ``[N]`` ``float64``; ``coordinates`` ``[N, R]``
    ``float32``, the embedding within the novelty's subspace of R dimensions.
    """

    class_index: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    novelty: npt.NDArray[np.float64]
    brightness: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    coordinates: npt.NDArray[np.float32]

    @classmethod
    def of(cls, columns: Mapping[str, npt.ArrayLike]) -> Self:
        """Make one of columns by name, whatever their types."""
        types: dict[str, Any] = dict.fromkeys(columns, np.float64) | {
            "class_index": np.int64,
            "coordinates": np.float32,
        }
        arrays: dict[str, Any] = {name: np.asarray(values).astype(types[name]) for name, values in columns.items()}
        return cls(**arrays)

    def __len__(self) -> int:
        return len(self.class_index)

    def take(self, which: Any) -> Self:
        """Return the answers that an index, a slice or a mask selects."""
        return type(self)(**{name: values[which] for name, values in vars(self).items()})


def describe(observed: Sequence[Observation], novelty: Novelty | None) -> Sample:
    """Return the features of some answers; the embeddings are shortened to their place in the subspace."""
    if novelty is None:
        distances, coordinates = np.full(len(observed), np.nan), np.zeros((len(observed), 0), np.float32)
    else:
        embeddings = np.stack([one.embedding for one in observed])
        distances, coordinates = novelty.distance(embeddings), novelty.coordinates(embeddings)
    pictures = {name: [getattr(one, name) for one in observed] for name in ("brightness", "width", "height")}
    answers = {name: [getattr(one.answer, name) for one in observed] for name in ("class_index", "confidence")}
    return Sample.of({**answers, **pictures, "novelty": distances, "coordinates": coordinates.astype(STORED_DTYPE)})


def novelty_of(bundle: Bundle) -> Novelty | None:
    """Return a bundle's novelty, or ``None`` if it was made without.

    Raises:
        BundleError: it is damaged.
    """
    stored = bundle.section.get("novelty")
    return None if stored is None else Novelty.from_json(stored, bundle.section["embedding_size"])


def identity(bundle: Bundle) -> str:
    """Return a sha256 that is equal for all files of one trained model and differs between models.

    Not the hash of ``config.json``, which changes with every export and evaluation.
    """
    parts = [bundle.config[key] for key in IDENTITY_OUTSIDE] + [bundle.section.get(key) for key in IDENTITY]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
