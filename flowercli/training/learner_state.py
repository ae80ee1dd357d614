"""Hold the state of a learner from a checkpoint, which may be somebody else's, to the form that ours has.

What torch restores it would take unseen, such as the attributes of a schedule, and fail an epoch later, or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

# Filled by the first update: for each parameter by its number, so a fresh optimizer says nothing of its form.
MOMENTS = "state"


def check_state(ours: Mapping[str, Any], theirs: Any) -> None:
    """Compare the keys, types and sizes of two states of a learner.

    Raises:
        ValueError: they differ, or what the optimizer remembers is not of the parameters.
    """
    for wrong in _differences(_without_moments(ours), _without_moments(theirs), "learner"):
        raise ValueError(f"{wrong} is not what it was saved as")
    if theirs["micro_batch"] < 1:
        raise ValueError("micro_batch is no number of photographs")
    sizes = {tensor.shape for part in ("model", "criterion") for tensor in ours[part].values()}
    for moments in theirs["optimizer"][MOMENTS].values():
        for value in moments.values():
            if value is not None and not (isinstance(value, Tensor) and (not value.ndim or value.shape in sizes)):
                raise ValueError("the optimizer is not what it was saved as")


def _without_moments(state: Any) -> dict[str, Any]:
    return {**state, "optimizer": {key: value for key, value in state["optimizer"].items() if key != MOMENTS}}


def _differences(ours: Any, theirs: Any, name: str) -> Iterator[str]:
    """Yield the names of the parts that are not alike, the first one first."""
    if isinstance(ours, dict):
        if not isinstance(theirs, dict) or ours.keys() != theirs.keys():
            yield name
            return
        for key, value in ours.items():
            yield from _differences(value, theirs[key], str(key))
    elif isinstance(ours, list | tuple):
        if not isinstance(theirs, type(ours)) or len(ours) != len(theirs):
            yield name
            return
        for value, other in zip(ours, theirs, strict=True):
            yield from _differences(value, other, name)
    elif not _alike(ours, theirs):
        yield name


def _alike(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, Tensor):
        return isinstance(theirs, Tensor) and ours.shape == theirs.shape
    return isinstance(theirs, int | float) if isinstance(ours, float) else type(theirs) is type(ours)
