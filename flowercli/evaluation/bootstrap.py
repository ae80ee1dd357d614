"""The bootstrap (Efron, 1979): how far a metric moves when the photographs are drawn anew, with repetition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

RESAMPLES = 2000
EDGES = (0.025, 0.975)
# Resamples times photographs that are held at once: 32 MB of counts.
CELLS_AT_ONCE = 4_000_000


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
