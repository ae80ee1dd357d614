"""A share and how sure it is: Wilson's interval, and the form that JSON holds; no scikit-learn."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
DIGITS = 6


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
