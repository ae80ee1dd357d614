"""How good the answers are, as scikit-learn defines it, each metric with a 95 % interval; and what is refused.

What is counted here is what scikit-learn's functions return, without the two seconds that it takes to load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowercli.evaluation.intervals import DIGITS, interval, share
from flowercli.evaluation.scores import percentile_interval, resampled_sums, reversed_interval, score_columns, scores

if TYPE_CHECKING:
    from flowercli.data.manifest import Entry
    from flowercli.evaluation.answers import Answers

    Floats = npt.NDArray[np.float64]


# The usual place on the curve where models are compared.
KEPT = 0.95


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


class ConfusedPair(NamedTuple):
    """Photographs of one class that were named another: so many ``times``, of its ``photos``."""

    target: str
    named: str
    times: int
    photos: int


def confused_pairs(metrics: Mapping[str, Any]) -> list[ConfusedPair]:
    """Return the pairs of classes that an evaluation confuses, the most frequent first."""
    names = list(metrics["per_class"])
    pairs = [
        ConfusedPair(target, named, count, sum(counts))
        for target, counts in zip(names, metrics["confusion_matrix"], strict=True)
        for named, count in zip(names, counts, strict=True)
        if count and named != target
    ]
    return sorted(pairs, key=lambda pair: (-pair.times, -pair.times / pair.photos, pair.target))


def refusal(inside: Floats, outside: Floats, kinds: Sequence[str], threshold: float) -> dict[str, Any]:
    """Return how many pictures are refused at a threshold, and how well any threshold could do.

    Args:
        inside: how sure the model is that it knows each photograph of its classes ``[N]``.
        outside: the same of outliers ``[M]``.
        kinds: the kind of each outlier, ``M`` of them.
        threshold: below which an answer is rejected.

    Returns:
        ``kept``, the share of the photographs that is not rejected; ``refused``, that of the outliers that is;
        ``refused_at_95``, the same at the threshold that keeps 95 % of these photographs; ``auroc``, the area under the
        curve of one against the other; ``by_kind``, each kind's share refused and number.
    """
    refused = outside < threshold
    names = np.array(kinds)
    return {
        "threshold": threshold,
        "kept": share(int((inside >= threshold).sum()), len(inside)),
        "pictures": len(outside),
        "refused": share(int(refused.sum()), len(outside)),
        "refused_at_95": share(int((outside < np.quantile(inside, 1 - KEPT)).sum()), len(outside)),
        "auroc": round(_auroc(inside, outside), DIGITS),
        "by_kind": {
            kind: {"refused": share(int(refused[names == kind].sum()), int((names == kind).sum()))}
            | {"photos": int((names == kind).sum())}
            for kind in sorted(set(kinds))
        },
    }


def by_source(answers: Answers, photos: Sequence[Entry], threshold: float) -> dict[str, Any]:
    """Return accuracy and share kept for each dataset that a merged one is made of; nothing for one that is not merged.

    A source that is refused more often than others is told by its encoding, or is another kind of photograph.
    """
    sources = np.array([photo.source for photo in photos])
    if len(set(sources)) < 2:  # noqa: PLR2004
        return {}
    rows = {}
    for source in sorted(set(sources)):
        mine = sources == source
        count = int(mine.sum())
        right, kept = int(answers.right[mine].sum()), int((answers.known[mine] >= threshold).sum())
        rows[source] = {"photos": count, "accuracy": share(right, count), "kept": share(kept, count)}
    return {"by_source": rows}


def _auroc(inside: Floats, outside: Floats) -> float:
    """Return in how many of all pairs the one of a class is surer; equals count as half (Mann and Whitney, 1947)."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left") + np.searchsorted(ordered, inside, "right")
    return float(below.mean() / 2 / len(outside))
