"""How good the answers are: scikit-learn's metrics, each with a 95 % interval where it has one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

Z_95 = 1.959963984540054
RESAMPLES = 2000
DIGITS = 6


def evaluate(
    probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, Any]:
    """Return every metric of one set of answers, as JSON would hold it.

    Args:
        probabilities: ``[N, C]``.
        targets: class indices ``[N]``.
        class_names: by class index.

    Returns:
        ``accuracy``, ``macro_f1`` and ``weighted_f1`` as ``{"value", "low", "high"}``; ``log_loss``;
        ``per_class`` with precision, recall, F1 and support; ``confusion_matrix`` (rows: targets);
        ``baseline``, the accuracy of always naming the most frequent class.
    """
    predictions = probabilities.argmax(axis=1)
    right = int((predictions == targets).sum())
    macro, weighted = _f1_intervals(predictions, targets, len(class_names))
    matrix = confusion_matrix(targets, predictions, labels=range(len(class_names)))
    most_frequent = int(np.bincount(targets, minlength=len(class_names)).argmax())
    return {
        "photos": len(targets),
        "right": right,
        "accuracy": _interval(right / len(targets), *wilson(right, len(targets))),
        "macro_f1": macro,
        "weighted_f1": weighted,
        "log_loss": _log_loss(probabilities, targets),
        "per_class": _per_class(predictions, targets, class_names),
        "confusion_matrix": matrix.tolist(),
        "baseline": {
            "class": class_names[most_frequent],
            "accuracy": _interval_of(int((targets == most_frequent).sum()), len(targets)),
        },
    }


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson, 1927), which stays within 0…1 at the edges."""
    share, z2 = right / total, Z_95**2
    centre = share + z2 / (2 * total)
    spread = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    low, high = (centre - spread) / (1 + z2 / total), (centre + spread) / (1 + z2 / total)
    return max(0.0, low), min(1.0, high)


def _f1_intervals(
    predictions: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], num_classes: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Macro and weighted F1 with percentile bootstrap intervals (Efron and Tibshirani, 1993)."""
    generator = np.random.default_rng(0)
    picks = generator.integers(0, len(targets), size=(RESAMPLES, len(targets)))
    cells = targets * num_classes + predictions
    counts = np.stack([np.bincount(cells[pick], minlength=num_classes**2) for pick in picks])
    resampled = f1_from_matrices(counts.reshape(-1, num_classes, num_classes))
    whole = f1_from_matrices(np.bincount(cells, minlength=num_classes**2).reshape(1, num_classes, num_classes))
    edges = [np.quantile(values, [0.025, 0.975]) for values in resampled]
    macro, weighted = (_interval(float(w[0]), *map(float, e)) for w, e in zip(whole, edges, strict=True))
    return macro, weighted


def f1_from_matrices(
    matrices: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return macro and weighted F1 ``[B]`` of confusion matrices ``[B, C, C]``, as scikit-learn defines them.

    A class that is neither there nor predicted counts in no mean.
    """
    hits = np.diagonal(matrices, axis1=1, axis2=2).astype(float)
    support, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    total = support + predicted
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    present = (total > 0).sum(axis=1)
    return f1.sum(axis=1) / present, (f1 * support).sum(axis=1) / support.sum(axis=1)


def _per_class(
    predictions: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    columns = precision_recall_fscore_support(targets, predictions, labels=range(len(class_names)), zero_division=0)
    report = {}
    for index, name in enumerate(class_names):
        precision, recall, f1, support = (column[index] for column in columns)
        hits, named = int(((predictions == index) & (targets == index)).sum()), int((predictions == index).sum())
        report[name] = {
            "precision": _interval_of(hits, named) if named else _interval(float(precision), 0.0, 1.0),
            "recall": _interval_of(hits, int(support)) if support else _interval(float(recall), 0.0, 1.0),
            "f1": round(float(f1), DIGITS),
            "support": int(support),
        }
    return report


def _log_loss(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> float:
    right = probabilities[np.arange(len(targets)), targets]
    return round(float(-np.log(right.clip(1e-12)).mean()), DIGITS)


def _interval_of(right: int, total: int) -> dict[str, float]:
    return _interval(right / total, *wilson(right, total))


def _interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": round(value, DIGITS), "low": round(low, DIGITS), "high": round(high, DIGITS)}
