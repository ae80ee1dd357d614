"""How good the answers are, as scikit-learn defines it, each metric with a 95 % interval.

What is counted here is what scikit-learn's functions return, without the two seconds that it takes to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.evaluation.bootstrap import percentile_interval, resampled_sums, reversed_interval
from flowercli.evaluation.intervals import DIGITS, interval, share
from flowercli.evaluation.scores import score_columns, scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def evaluate(
    probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, Any]:
    """Return every metric of one set of answers, as JSON would hold it.

    Args:
        probabilities: ``[N, C]``.
        targets: class indices ``[N]``.
        class_names: by class index.

    Returns:
        ``accuracy``, ``top_2_accuracy``, ``balanced_accuracy``, ``macro_f1``, ``weighted_f1``, ``log_loss``,
        ``brier`` and ``ece`` as ``{"value", "low", "high"}``; ``per_class`` with precision, recall, F1 and support;
        ``confusion_matrix`` (rows: targets); ``baseline``, the accuracy of always naming the most frequent class.
    """
    predictions = probabilities.argmax(axis=1)
    right, count = int((predictions == targets).sum()), len(targets)
    matrix = count_confusions(targets, predictions, len(class_names))
    most_frequent = int(np.bincount(targets, minlength=len(class_names)).argmax())
    return {
        "photos": count,
        "right": right,
        "accuracy": share(right, count),
        "top_2_accuracy": share(within_top(probabilities, targets, 2), count),
        **_bootstrapped(probabilities, targets),
        "per_class": _per_class(matrix, class_names),
        "confusion_matrix": matrix.tolist(),
        "baseline": {
            "class": class_names[most_frequent],
            "accuracy": share(int((targets == most_frequent).sum()), count),
        },
    }


def count_confusions(
    targets: npt.NDArray[np.int64], predictions: npt.NDArray[np.int64], num_classes: int
) -> npt.NDArray[np.int64]:
    """Return how many of each class (rows) are named as each class (columns), ``[C, C]``."""
    return np.bincount(targets * num_classes + predictions, minlength=num_classes**2).reshape(num_classes, num_classes)


def within_top(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], top: int) -> int:
    """Return for how many photographs the right class is among the ``top`` most probable.

    Of equally probable classes the first counts as the more probable, as it does for the prediction.
    """
    own = probabilities[np.arange(len(targets)), targets][:, np.newaxis]
    earlier = np.arange(probabilities.shape[1]) < targets[:, np.newaxis]
    before = (probabilities > own) | ((probabilities == own) & earlier)
    return int((before.sum(axis=1) < top).sum())


def _bootstrapped(probabilities: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> dict[str, Any]:
    columns = score_columns(probabilities, targets)
    num_classes = probabilities.shape[1]
    whole = scores(columns.sum(axis=0, keepdims=True), num_classes)
    drawn = scores(resampled_sums(columns), num_classes)
    result = {}
    for name, values in whole.items():
        value = float(values[0])
        edges = reversed_interval(value, drawn[name], 0.0) if name == "ece" else percentile_interval(drawn[name])
        result[name] = interval(value, *edges)
    return result


def _per_class(matrix: npt.NDArray[np.int64], class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    counts = zip(class_names, matrix.diagonal().tolist(), matrix.sum(0).tolist(), matrix.sum(1).tolist(), strict=True)
    return {
        name: {
            "precision": share(hits, named) if named else interval(0.0, 0.0, 1.0),
            "recall": share(hits, support) if support else interval(0.0, 0.0, 1.0),
            "f1": round(2 * hits / max(named + support, 1), DIGITS),
            "support": support,
        }
        for name, hits, named, support in counts
    }
