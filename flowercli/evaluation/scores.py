"""Metrics as functions of sums over photographs, so that all of them can be computed for many resamples at once.

How far a metric moves when the photographs are drawn anew, with repetition, is its interval (bootstrap; Efron, 1979).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


BINS = 15
LEAST_PROBABILITY = 1e-12

RESAMPLES = 2000
EDGES = (0.025, 0.975)
# Resamples times photographs that are held at once: 32 MB of counts.
CELLS_AT_ONCE = 4_000_000


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
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


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


def resampled_sums(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sums of ``columns`` over each of 2,000 resamples of the rows.

    How often each row is drawn is one matrix and the sums are its product with ``columns``, so that any number
    of metrics shares the resamples. The same number of rows is always resampled the same way.

    Args:
        columns: ``[N, K]``, a row a photograph.

    Returns:
        ``[2000, K]``.
    """
    generator = np.random.default_rng(0)
    count = len(columns)
    at_once = max(1, CELLS_AT_ONCE // count)
    parts = []
    for start in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - start)
        picks = generator.integers(0, count, size=(size, count)) + np.arange(size)[:, np.newaxis] * count
        times = np.bincount(picks.ravel(), minlength=size * count).reshape(size, count)
        parts.append(times.astype(np.float64) @ columns)
    return np.concatenate(parts)


def percentile_interval(drawn: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile interval of the resampled values ``[B]`` (Efron and Tibshirani, 1993, chapter 13)."""
    low, high = np.quantile(drawn, EDGES)
    return float(low), float(high)


def reversed_interval(value: float, drawn: npt.NDArray[np.float64], least: float) -> tuple[float, float]:
    """Return the 95 % basic interval (Davison and Hinkley, 1997, section 5.2), not below ``least``.

    For a metric that noise can only raise: the resamples are above the value by about as much as the value is above
    the truth, so the percentile interval would lie on the wrong side. The value itself may lie above this one.
    """
    low, high = percentile_interval(drawn)
    return max(least, 2 * value - high), max(least, 2 * value - low)
