"""What the values of a training configuration are held to beside their types, without reading a photograph.

Each is called with a value and says what is wrong with it; ``None`` where nothing is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# What is wrong with a value, if anything.
Limit = Callable[[Any], str | None]


class Choice(tuple[str, ...]):
    """The texts that there are."""

    __slots__ = ()

    def __call__(self, value: str) -> str | None:
        """Hold a text to them."""
        return None if value in self else f"choose one of {', '.join(self)}"


@dataclass(frozen=True)
class Range:
    """Inclusive bounds; ``None`` is open. Of numbers with a fraction, only finite ones are within any."""

    low: float
    high: float | None = None

    def __contains__(self, value: float) -> bool:
        """Whether a number is within."""
        return _is_finite(value) and value >= self.low and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        return f"at least {self.low:g}" if self.high is None else f"from {self.low:g} to {self.high:.15g}"

    def __call__(self, value: float) -> str | None:
        """Hold a number to them."""
        return None if value in self else f"{'' if _is_finite(value) else 'a finite number, '}{self}"


@dataclass(frozen=True)
class Numbers:
    """What a list of numbers must be: so many, each within bounds, rising, or adding up to one."""

    length: int
    within: Range
    rising: bool = False
    shares: bool = False

    def __call__(self, values: list[float]) -> str | None:
        """Hold a list to it."""
        fits = len(values) == self.length and all(value in self.within for value in values)
        adds_up = not self.shares or math.isclose(sum(values), 1, abs_tol=1e-6)
        if fits and adds_up and (not self.rising or sorted(values) == values):
            return None
        more = ", the smaller one first" if self.rising else ", together 1" if self.shares else ""
        return f"{self.length} numbers {self.within}{more}"


# timm's grammar, which passes over what it does not know: the policy, and what each of its letters may be.
UNIT, COUNT = Range(0, 1), Range(1, 20)
MAGNITUDE, NOISE = Range(0, 10), Range(0, 1000)
POLICY = {"mstd": NOISE}
AUTO_AUGMENT: dict[str, dict[str, Range]] = {
    "rand": {"m": MAGNITUDE, "n": COUNT, "p": UNIT, "mstd": NOISE, "mmax": Range(1, 10), "inc": UNIT},
    "augmix": {"m": MAGNITUDE, "w": COUNT, "d": COUNT, "a": Range(0.01, 1000), "b": UNIT, "mstd": NOISE},
    "original": POLICY,
    "originalr": POLICY,
    "v0": POLICY,
    "v0r": POLICY,
    "3a": POLICY,
}
FRACTIONS = frozenset({"p", "mstd", "a"})
# What rand chooses its operations from.
OPERATIONS = ("tweights", "t3a", "t3aw")
SECTION = re.compile(r"(?P<key>[a-z]+)(?P<value>\d+(\.\d+)?)", re.ASCII)


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)  # Whole numbers may be larger than any that has a fraction.


def not_empty(text: str) -> str | None:
    """Hold the name of a folder or a model to being one; null is how to leave one open."""
    return None if text.strip() else "empty"


def folder_name(name: str) -> str | None:
    """Hold a text to being the name of a folder."""
    good = name.strip() and name not in {".", ".."} and not any(mark in name for mark in "/\\\0")
    return None if good else "the name of a folder in output, not a path"


def policy(text: str) -> str | None:
    """Hold a text to timm's grammar for automatic augmentation."""
    name, *sections = text.split("-")
    if name not in AUTO_AUGMENT:
        return f"it begins with one of {', '.join(AUTO_AUGMENT)}, as rand-m7-mstd0.5"
    for section in sections:
        if name == "rand" and section in OPERATIONS:
            continue
        match = SECTION.fullmatch(section)
        limits = AUTO_AUGMENT[name].get(match["key"]) if match else None
        if match is None or limits is None:
            return f"'{section}' is none of {', '.join(AUTO_AUGMENT[name])} with a number behind it"
        whole = match["key"] in FRACTIONS or "." not in match["value"]
        if not (whole and float(match["value"]) in limits):
            return f"'{section}': a {'' if match['key'] in FRACTIONS else 'whole '}number {limits}"
    return None
