"""Embeddings on a plane: which photographs look alike to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from flowercli.reporting.plot_style import (
    COLOURS,
    INK,
    PAPER,
    label,
    legend_below,
    new_figure,
    series,
    style_axes,
)
from flowercli.shown import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

MOST_POINTS = 2000
# Below this t-SNE shows chance rather than neighbours.
FEWEST_FOR_TSNE = 30
PERPLEXITY = 30.0
PCA_COMPONENTS = 50
SEED = 0
# From here on the points are drawn as pixels: a picture of fixed size instead of a line of SVG each.
MOST_VECTOR_POINTS = 400
MOST_CLASSES = 10
SMALLEST_SPREAD = 1e-9


@dataclass(frozen=True)
class Projection:
    """Points ``[N, 2]`` and the names of the axes."""

    points: Floats
    axes: tuple[str, str]


def sample(count: int) -> Indices:
    """Return the positions of at most 2000 of ``count`` photographs, always the same ones, in order."""
    if count <= MOST_POINTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(SEED).choice(count, MOST_POINTS, replace=False))


def project(embeddings: npt.NDArray[np.float32]) -> Projection:
    """Lay embeddings out on a plane: PCA, then t-SNE (van der Maaten and Hinton, 2008) where there are enough.

    Args:
        embeddings: ``[N, D]``; only their directions count, as they do for rejection.
    """
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    units = (embeddings / np.maximum(norms, SMALLEST_SPREAD)).astype(np.float64)
    centred = units - units.mean(axis=0)
    if np.abs(centred).max(initial=0) < SMALLEST_SPREAD or min(units.shape) < 2:  # noqa: PLR2004  (a plane has two axes)
        return Projection(np.zeros((len(units), 2)), ("No spread", "No spread"))
    pca = PCA(min(PCA_COMPONENTS, *units.shape), random_state=SEED)
    reduced = pca.fit_transform(units)
    if len(units) < FEWEST_FOR_TSNE:
        first, second = pca.explained_variance_ratio_[:2]
        return Projection(
            reduced[:, :2], (f"First component ({percent(first, 0)} of variance)", f"Second ({percent(second, 0)})")
        )
    perplexity = min(PERPLEXITY, (len(units) - 1) / 3)
    points = TSNE(perplexity=perplexity, init=_start(reduced), random_state=SEED).fit_transform(reduced)
    return Projection(points.astype(np.float64), ("t-SNE, first axis (no unit)", "t-SNE, second axis (no unit)"))


def embedding_map(
    embeddings: npt.NDArray[np.float32], targets: Indices, predictions: Indices, class_names: Sequence[str]
) -> Figure:
    """Draw the embeddings, a colour and a marker for each class and a ring around each wrong answer.

    Args:
        embeddings: ``[N, D]``.
        targets: class indices ``[N]``.
        predictions: class indices ``[N]``.
        class_names: by class index.
    """
    picked = sample(len(targets))
    targets, wrong = targets[picked], (predictions != targets)[picked]
    projection = project(embeddings[picked])
    shown = most_common(targets)
    figure = new_figure("What looks alike to the model lies together", 4.0)
    axes = figure.subplots()
    style_axes(axes, *projection.axes)
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for position, index in enumerate(shown):
        signs = series(position)
        _scatter(axes, projection.points[targets == index], signs.colour, signs.marker, label(class_names[index]))
    others = projection.points[~np.isin(targets, shown)]
    if len(others):
        _scatter(axes, others, COLOURS[-1], ".", "other classes")
    if len(picked) > MOST_VECTOR_POINTS:
        for points in axes.collections:
            points.set(rasterized=True, edgecolors="none")
    x, y = projection.points[wrong].T
    axes.scatter(x, y, 70, marker="o", facecolors="none", edgecolors=INK, linewidths=1.2, label="wrongly named")
    legend_below(figure, axes)
    return figure


def most_common(targets: Indices) -> list[int]:
    """Return the classes that get a sign of their own: all there are, or the ten with the most photographs."""
    classes, counts = np.unique(targets, return_counts=True)
    return sorted(int(index) for index in classes[np.argsort(-counts, kind="stable")][:MOST_CLASSES])


def _start(reduced: Floats) -> npt.NDArray[np.float32]:
    """Return the first two components at the scale that t-SNE starts from: nothing is left to chance."""
    start = reduced[:, :2]
    return (start / np.std(start[:, 0]) * 1e-4).astype(np.float32)


def _scatter(axes: Axes, points: Floats, colour: str, marker: str, name: str) -> None:
    x, y = points.T
    axes.scatter(x, y, 26, c=colour, marker=marker, edgecolors=PAPER, linewidths=0.4, label=name)
