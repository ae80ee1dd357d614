"""Whether the answers in a log are like those about the model's own photographs, feature by feature, and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from flowercli.monitoring.statistics import (
    Counts,
    Floats,
    answers_needed,
    bin_counts,
    holm,
    index_test,
    quantile_edges,
)

if TYPE_CHECKING:
    from flowercli.monitoring.features import Sample
    from flowercli.monitoring.reference import Reference

STABLE, DRIFTING, NOT_ENOUGH = "stable", "drifting", "not enough data"
MODERATE, LARGE = "moderate change", "large change"
# The usual limits of the population stability index.
MODERATE_INDEX, LARGE_INDEX = 0.1, 0.25
LEVEL = 0.05
# The features, each with a test; a verdict of "drifting" is wrong in one of twenty logs in which nothing has changed.
TESTS = 5
FEWEST = 10
SEED = 0


@dataclass(frozen=True)
class Feature:
    """How one feature of the log compares with the reference.

    ``index`` is the population stability index, corrected for the size of the samples, ``low`` and ``high`` its 95 %
    interval, ``raw_index`` the uncorrected one. ``p`` is of a permutation test, ``adjusted_p`` of all features'
    together. ``bins`` name the shares that ``reference`` and ``current`` list. A mix of classes has no medians.
    """

    name: str
    verdict: str
    index: float
    low: float
    high: float
    raw_index: float
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


def compare(reference: Reference, current: Sample, class_names: Sequence[str]) -> Comparison:
    """Compare the answers of a log with the reference of the model that gave them.

    Fewer than ten answers are not compared, nor are any with fewer than ten photographs.
    """
    needed = _needed(reference, len(class_names))
    if min(len(current), len(reference.sample)) < FEWEST:
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
    before = reference.sample
    for name in ("confidence", "known", "brightness", "megapixels"):
        yield _measured(name, getattr(before, name), getattr(current, name), generator)
    yield _classes(before, current, class_names, generator)


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


def _judged(feature: Feature, adjusted_p: float) -> Feature:
    """Say what a feature's figures mean: a change must be more than chance, and of a size that matters."""
    verdict = STABLE
    if adjusted_p < LEVEL and feature.index >= MODERATE_INDEX:
        verdict = LARGE if feature.index >= LARGE_INDEX else MODERATE
    return replace(feature, adjusted_p=adjusted_p, verdict=verdict)


def _needed(reference: Reference, classes: int) -> int | None:
    """Return how many answers it takes to notice a large change of any feature, most of the time."""
    photos = len(reference.sample)
    measured, mix = (answers_needed(photos, bins, LARGE_INDEX, LEVEL / TESTS) for bins in (None, classes))
    return None if measured is None or mix is None else max(measured, mix)


def _shares(counts: Counts) -> list[float]:
    shares: list[float] = (counts / counts.sum()).round(4).tolist()
    return shares


def _bin_names(edges: Floats) -> list[str]:
    texts = [f"{edge:.4g}" for edge in edges]
    if not texts:
        return ["all"]
    between = [f"{low}–{high}" for low, high in pairwise(texts)]
    return [f"< {texts[0]}", *between, f"≥ {texts[-1]}"]
