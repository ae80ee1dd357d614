"""How well a model tells what it knows from what it does not: the pictures of no class that it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.evaluation.intervals import DIGITS, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from flowercli.data.manifest import Entry
    from flowercli.evaluation.answers import Answers

    Floats = npt.NDArray[np.float64]

# The usual place on the curve where models are compared.
KEPT = 0.95


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
