"""The metrics of a finished model as MLflow takes them: one name and one number each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What MLflow takes in a name besides letters and digits, and how long one may be with what goes before.
NOT_IN_A_NAME = re.compile(r"[^\w. -]")
NAME_LENGTH = 200
OF_A_CLASS = ("f1", "precision", "recall")


def final_metrics(split: str, metrics: Mapping[str, Any], variant: str = "torch") -> dict[str, float]:
    """Return accuracy, macro F1, macro precision and macro recall of a split; of the weights also those of each class.

    A class that is neither there nor named counts in no mean, as in scikit-learn's; one that is not there has none.

    Args:
        split: ``val`` or ``test``, with which every name begins.
        metrics: as ``evaluate`` returns them.
        variant: what was asked; the weights go without saying.
    """
    prefix = split if variant == "torch" else f"{split}/{variant}"
    per_class: Mapping[str, Mapping[str, Any]] = metrics["per_class"]
    matrix = np.array(metrics["confusion_matrix"])
    counted = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    values = {f"{prefix}/accuracy": _number(metrics["accuracy"])}
    for key in OF_A_CLASS:
        of_all = [_number(entry[key]) for entry in per_class.values()]
        values[f"{prefix}/macro_{key}"] = float(np.mean([of_all[index] for index in counted]))
    for name, entry in zip(_plain(list(per_class)), per_class.values(), strict=True):
        if entry["support"] and variant == "torch":
            values |= {f"{prefix}/{key}/{name}": _number(entry[key]) for key in OF_A_CLASS}
    return values


def recorded(section: Mapping[str, Any], splits: Sequence[str]) -> dict[str, float]:
    """Return the metrics of a bundle's weights on those of the splits that its description has metrics of."""
    found: dict[str, float] = {}
    for split in splits:
        if metrics := section.get("metrics", {}).get(split, {}).get("torch"):
            found |= final_metrics(split, metrics)
    return found


def in_parts(values: Mapping[str, float], most: int) -> Iterator[dict[str, float]]:
    """Yield the values, at most so many at a time."""
    pairs = list(values.items())
    for start in range(0, len(pairs), most):
        yield dict(pairs[start : start + most])


def _number(value: Any) -> float:
    return float(value["value"] if isinstance(value, dict) else value)


def _plain(class_names: Sequence[str]) -> list[str]:
    """Return class names in the letters that MLflow takes, each another."""
    plain: list[str] = []
    for index, class_name in enumerate(class_names):
        name = NOT_IN_A_NAME.sub("_", class_name)[:NAME_LENGTH]
        plain.append(f"{name}-{index}" if name in plain or not name.strip(". ") else name)
    return plain
