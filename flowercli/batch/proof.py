"""Whether every photograph of a plan has its answer, once: counted over the files, not remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from flowercli.batch.digests import digests
from flowercli.batch.part import ANSWERED, REJECTED, answers_of, results
from flowercli.batch.plan import Plan, name_of

if TYPE_CHECKING:
    import pyarrow as pa

    from flowercli.inference.pipeline import Result
    from flowercli.progress import Advance

OUTCOME = ("path", "predicted_class", "rejected", "error")


@dataclass
class Proof:
    """What the files say of a plan.

    ``missing`` are parts without answers, ``other`` those whose answers are about other photographs than the plan's;
    ``double`` is how many photographs the plan has once more than once. ``classes`` counts flowers that were named.
    """

    listed: bool
    planned: int = 0
    parts: int = 0
    met: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    missing: list[int] = field(default_factory=list)
    without_answer: int = 0
    other: list[int] = field(default_factory=list)
    double: int = 0

    @property
    def answered(self) -> int:
        """Photographs that the model answered about, rejected ones among them."""
        return self.met[ANSWERED] + self.met[REJECTED]

    @property
    def errors(self) -> Counter[str]:
        """How many photographs could not be read, by code."""
        return Counter({code: count for code, count in self.met.items() if code not in {ANSWERED, REJECTED}})

    @property
    def holds(self) -> bool:
        """Whether all is listed and every photograph has one row."""
        return self.listed and self.planned == self.met.total() and not (self.missing or self.other or self.double)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``flowers answers --json`` prints."""
        return {
            "complete": self.holds,
            "listed": self.listed,
            "planned": self.planned,
            "answered": self.answered,
            "rejected": self.met[REJECTED],
            "errors": dict(self.errors.most_common()),
            "missing": self.without_answer,
            "double": self.double,
            "missing_parts": list(map(name_of, self.missing)),
            "other_parts": list(map(name_of, self.other)),
            "classes": dict(self.classes.most_common()),
        }


def prove(plan: Plan, settings: dict[str, Any], advance: Advance) -> Proof:
    """Read the plan and all answers, and hold one to the other, path by path.

    Raises:
        BatchError: a file is damaged.
    """
    proof = Proof(settings["listed"])
    planned, answered = plan.parts(), plan.answered()
    seen = []
    for number in planned:
        paths = plan.column(number)
        seen.append(digests(paths.to_pylist()))
        _count(proof, plan, number, paths, is_there=number in answered)
        advance("answers", len(planned))
    proof.parts = len(planned)
    proof.other += sorted(answered.difference(planned))
    proof.double = _doubles(seen)
    return proof


def _count(proof: Proof, plan: Plan, number: int, paths: pa.ChunkedArray, *, is_there: bool) -> None:
    proof.planned += len(paths)
    table = answers_of(plan, number, list(OUTCOME)) if is_there else None
    if table is None:
        proof.missing.append(number)
        proof.without_answer += len(paths)
    elif not table["path"].equals(paths):
        proof.other.append(number)
    else:
        named = pc.invert(pc.fill_null(table["rejected"], fill_value=True))
        proof.classes.update(table["predicted_class"].filter(named).to_pylist())
        proof.met.update(table["error"].drop_null().to_pylist())
        proof.met[ANSWERED] += pc.sum(named).as_py() or 0
        proof.met[REJECTED] += pc.sum(table["rejected"]).as_py() or 0


def _doubles(seen: list[npt.NDArray[np.bytes_]]) -> int:
    if not seen:
        return 0
    every = np.sort(np.concatenate(seen))
    return int(np.count_nonzero(every[1:] == every[:-1]))


def answers(plan: Plan) -> Iterator[Result]:
    """Yield all answers that are there, in the order of the plan."""
    for number in plan.parts():
        table = answers_of(plan, number)
        if table is not None:
            yield from results(table)
