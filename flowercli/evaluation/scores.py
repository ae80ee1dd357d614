"""Metrics as functions of sums over photographs, so that all of them can be computed for many resamples at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

BINS = 15
LEAST_PROBABILITY = 1e-12


def score_columns(probabilities: Floats, targets: npt.NDArray[np.int64]) -> Floats:
    """Return what each photograph adds to the sums that :func:`scores` reads.

    Args:
        probabilities: ``[N, C]``.
        targets: class indices ``[N]``.

    Returns:
        ``[N, 3 C + 2 + 15]``: for each class whether it is rightly named, there, named; the log loss; the Brier score;
        for each bin of confidence, confidence minus rightness.
    """
    rows, num_classes = np.arange(len(targets)), probabilities.shape[1]
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = (predictions == targets).astype(np.float64)
    there, named = np.eye(num_classes)[targets], np.eye(num_classes)[predictions]
    log_loss = -np.log(probabilities[rows, targets].clip(LEAST_PROBABILITY))
    brier = ((probabilities - there) ** 2).sum(axis=1)
    gaps = np.eye(BINS)[bin_of(confidence)] * (confidence - right)[:, np.newaxis]
    return np.hstack([there * named, there, named, log_loss[:, np.newaxis], brier[:, np.newaxis], gaps])


def bin_of(confidence: Floats) -> npt.NDArray[np.int64]:
    """Return the bin ``[N]`` of each confidence ``[N]``: open below and closed above, as those of Guo et al."""
    bins: npt.NDArray[np.int64] = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return bins


def scores(sums: Floats, num_classes: int) -> dict[str, Floats]:
    """Return the metrics ``[B]`` of B sets of photographs from their sums ``[B, 3 C + 2 + 15]``.

    Balanced accuracy, F1, log loss and Brier score (Brier, 1950: the sum over classes, mean over photographs, 0…2) are
    scikit-learn's. ``ece`` is the expected calibration error of the most probable class over 15 bins of equal
    width (Guo et al., 2017).
    """
    hits, there, named, log_loss, brier, gaps = np.split(sums, _edges(num_classes), axis=1)
    photos = there.sum(axis=1)
    macro, weighted = f1_from_counts(hits, there, named)
    return {
        "balanced_accuracy": _ratio(hits, there).sum(axis=1) / (there > 0).sum(axis=1),
        "macro_f1": macro,
        "weighted_f1": weighted,
        "log_loss": log_loss[:, 0] / photos,
        "brier": brier[:, 0] / photos,
        "ece": np.abs(gaps).sum(axis=1) / photos,
    }


def f1_from_counts(hits: Floats, there: Floats, named: Floats) -> tuple[Floats, Floats]:
    """Return macro and weighted F1 ``[B]`` of counts ``[B, C]``, as scikit-learn defines them.

    A class that is neither there nor named counts in no mean.
    """
    total = there + named
    f1 = _ratio(2 * hits, total)
    return f1.sum(axis=1) / (total > 0).sum(axis=1), (f1 * there).sum(axis=1) / there.sum(axis=1)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Divide, with zero where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _edges(num_classes: int) -> list[int]:
    """Return the columns at which the parts of the sums begin, after the first."""
    return [num_classes, 2 * num_classes, 3 * num_classes, 3 * num_classes + 1, 3 * num_classes + 2]
