"""Whether the answers in a log are like those about the model's own photographs, feature by feature, and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.monitoring.statistics import (
    answers_needed,
    bin_counts,
    discrepancy_test,
    holm,
    index_test,
    quantile_edges,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from flowercli.monitoring.features import Sample
    from flowercli.monitoring.reference import Reference
    from flowercli.monitoring.statistics import Counts, Floats

STABLE, DRIFTING, NOT_ENOUGH = "stable", "drifting", "not enough data"
MODERATE, LARGE, CHANGED = "moderate change", "large change", "changed"
# The usual limits of the population stability index.
MODERATE_INDEX, LARGE_INDEX = 0.1, 0.25
LEVEL = 0.05
# The features, each with a test; a verdict of "drifting" is wrong in one of twenty logs in which nothing has changed.
TESTS = 6
# More answers make the discrepancy find what is too small to matter, and take memory with their square.
MOST_POINTS = 1000
FEWEST = 10
SEED = 0


@dataclass(frozen=True)
class Feature:
    """How one feature of the log compares with the reference.

    ``index`` is the population stability index, corrected for the size of the samples, ``low`` and ``high`` its 95 %
    interval, ``raw_index`` the uncorrected one; of the embedding, ``index`` is the squared maximum mean discrepancy
    and the others ``None``. ``p`` is of a permutation test, ``adjusted_p`` of all features' together. ``bins`` name
    the shares that ``reference`` and ``current`` list.
    """

    name: str
    verdict: str
    index: float
    low: float | None
    high: float | None
    raw_index: float | None
    p: float
    adjusted_p: float
    reference_photos: int
    reference_median: float | None
    current_median: float | None
    bins: list[str]
    reference: list[float]
    current: list[float]


@dataclass(frozen=True)
class Comparison:
    """The verdict on some answers: ``verdict``, how many answers there are and how many it takes, and the features."""

    verdict: str
    answers: int
    needed: int | None
    features: list[Feature]

    @property
    def changed(self) -> list[Feature]:
        """The features that have changed."""
        return [feature for feature in self.features if feature.verdict != STABLE]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return asdict(self)


def compare(reference: Reference, current: Sample, class_names: Sequence[str]) -> Comparison:
    """Compare the answers of a log with the reference of the model that gave them.

    Fewer than ten answers are not compared.
    """
    needed = _needed(reference, len(class_names))
    if len(current) < FEWEST:
        return Comparison(NOT_ENOUGH, len(current), needed, [])
    generator = np.random.default_rng(SEED)
    features = list(_features(reference, current, class_names, generator))
    adjusted = holm([feature.p for feature in features])
    features = [_judged(feature, p) for feature, p in zip(features, adjusted, strict=True)]
    blind = needed is None or len(current) < needed
    changed = any(feature.verdict != STABLE for feature in features)
    verdict = DRIFTING if changed else NOT_ENOUGH if blind else STABLE
    return Comparison(verdict, len(current), needed, features)


def _features(
    reference: Reference, current: Sample, class_names: Sequence[str], generator: np.random.Generator
) -> Iterator[Feature]:
    known = reference.sample
    yield _measured("confidence", known.confidence, current.confidence, generator)
    if _has_novelty(known) and _has_novelty(current):
        yield _measured("novelty", known.novelty, current.novelty, generator)
        yield _embedding(known, current, generator)
    yield _measured("brightness", known.brightness, current.brightness, generator)
    yield _measured("megapixels", _megapixels(known), _megapixels(current), generator)
    yield _classes(known, current, class_names, generator)


def _measured(name: str, reference: Floats, current: Floats, generator: np.random.Generator) -> Feature:
    edges = quantile_edges(reference, current)
    medians = float(np.median(reference)), float(np.median(current))
    counts = bin_counts(reference, edges), bin_counts(current, edges)
    return _counted(name, counts, _bin_names(edges), generator, medians)


def _classes(reference: Sample, current: Sample, class_names: Sequence[str], generator: np.random.Generator) -> Feature:
    before, now = (np.bincount(sample.class_index, minlength=len(class_names)) for sample in (reference, current))
    return _counted("class mix", (before, now), list(class_names), generator)


def _counted(
    name: str,
    counts: tuple[Counts, Counts],
    bins: list[str],
    generator: np.random.Generator,
    medians: tuple[float, float] | None = None,
) -> Feature:
    index = index_test(*counts, generator)
    return Feature(
        name=name,
        verdict=STABLE,
        index=index.value,
        low=index.low,
        high=index.high,
        raw_index=index.raw,
        p=index.p,
        adjusted_p=index.p,
        reference_photos=int(counts[0].sum()),
        reference_median=medians[0] if medians else None,
        current_median=medians[1] if medians else None,
        bins=bins,
        reference=_shares(counts[0]),
        current=_shares(counts[1]),
    )


def _embedding(reference: Sample, current: Sample, generator: np.random.Generator) -> Feature:
    before, now = (_points(_spread(sample)) for sample in (reference, current))
    found = discrepancy_test(before, now, generator)
    nothing: dict[str, Any] = dict.fromkeys(("low", "high", "raw_index", "reference_median", "current_median"))
    return Feature(
        name="embedding",
        verdict=STABLE,
        index=found.value,
        p=found.p,
        adjusted_p=found.p,
        reference_photos=len(before),
        bins=[],
        reference=[],
        current=[],
        **nothing,
    )


def _judged(feature: Feature, adjusted_p: float) -> Feature:
    """Say what a feature's figures mean: a change must be more than chance, and of a size that matters."""
    verdict = STABLE
    if adjusted_p < LEVEL and feature.raw_index is None:
        verdict = CHANGED
    elif adjusted_p < LEVEL and feature.index >= MODERATE_INDEX:
        verdict = LARGE if feature.index >= LARGE_INDEX else MODERATE
    return replace(feature, adjusted_p=adjusted_p, verdict=verdict)


def _needed(reference: Reference, classes: int) -> int | None:
    """Return how many answers it takes to notice a large change of any feature, most of the time."""
    photos = len(reference.sample)
    measured, mix = (answers_needed(photos, bins, LARGE_INDEX, LEVEL / TESTS) for bins in (None, classes))
    return None if measured is None or mix is None else max(measured, mix)


def _points(sample: Sample) -> npt.NDArray[np.floating[Any]]:
    """Return places in the subspace with the distance from it as one more coordinate."""
    return np.column_stack([sample.coordinates, sample.novelty])


def _spread(sample: Sample) -> Sample:
    """Return at most as many answers as are compared, evenly over time."""
    if len(sample) <= MOST_POINTS:
        return sample
    return sample.take(np.linspace(0, len(sample) - 1, MOST_POINTS).astype(int))


def _has_novelty(sample: Sample) -> bool:
    return sample.coordinates.shape[1] > 0 and not np.isnan(sample.novelty).any()


def _megapixels(sample: Sample) -> Floats:
    return sample.width * sample.height / 1e6


def _shares(counts: Counts) -> list[float]:
    shares: list[float] = (counts / counts.sum()).round(4).tolist()
    return shares


def _bin_names(edges: Floats) -> list[str]:
    texts = [f"{edge:.4g}" for edge in edges]
    if not texts:
        return ["all"]
    between = [f"{low}–{high}" for low, high in pairwise(texts)]
    return [f"< {texts[0]}", *between, f"≥ {texts[-1]}"]
