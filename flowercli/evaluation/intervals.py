"""A figure and how sure it is: Wilson's interval, as JSON holds it and as people read it; no scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flowercli.shown import percent

Z_95 = 1.959963984540054
DIGITS = 6
NONE = "–"


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson, 1927), which stays within 0…1 at the edges."""
    share, z2 = right / total, Z_95**2
    centre = share + z2 / (2 * total)
    spread = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    low, high = (centre - spread) / (1 + z2 / total), (centre + spread) / (1 + z2 / total)
    return max(0.0, low), min(1.0, high)


def interval(value: float, low: float, high: float) -> dict[str, float]:
    """Return a metric and its interval as JSON holds them."""
    return {"value": round(value, DIGITS), "low": round(low, DIGITS), "high": round(high, DIGITS)}


def share(right: int, total: int) -> dict[str, float]:
    """Return a share with its interval as JSON holds them."""
    return interval(right / total, *wilson(right, total))


def share_text(value: Mapping[str, float], digits: int = 2) -> str:
    """Return a share and its interval in words: ``97.46 % (92.8–99.1)``."""
    return f"{percent(value['value'], digits)} ({100 * value['low']:.1f}–{100 * value['high']:.1f})"


def class_texts(row: Mapping[str, Any], digits: int = 1) -> tuple[str, str, str]:
    """Return precision, recall and F1 of a class in words; a dash for what no photograph says anything of."""
    shares = (row["precision"], row["recall"])
    # Wilson's interval of one photograph is narrower already.
    precision, recall = (NONE if (each["low"], each["high"]) == (0, 1) else share_text(each, digits) for each in shares)
    return precision, recall, percent(row["f1"], digits) if row["support"] else NONE


def number_text(value: Mapping[str, float], digits: int = 3) -> str:
    """Return another figure and its interval in words: ``0.072 (0.031–0.124)``."""
    return f"{value['value']:.{digits}f} ({value['low']:.3f}–{value['high']:.3f})"
