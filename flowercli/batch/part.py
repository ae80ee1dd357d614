"""One part of the answers: a Parquet file of a row a photograph, errors among them, which is there whole or not."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from flowercli.batch.places import fetcher
from flowercli.batch.plan import Plan, as_path, name_of, read_table, to_parquet
from flowercli.errors import ImageError
from flowercli.inference.classifier import DIGITS, Classifier, Prediction
from flowercli.inference.pipeline import Result, classify_stream

# Of an answer the fields of `classify --json`; of an error its code and message. 32 bits hold six digits.
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        ("predicted_class", pa.string()),
        ("scientific_name", pa.string()),
        ("class_index", pa.int32()),
        ("confidence", pa.float32()),
        ("known", pa.float32()),
        ("all_predictions", pa.map_(pa.string(), pa.float32())),
        ("rejected", pa.bool_()),
        ("reason", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
    ]
)
# What became of a photograph, beside the codes of errors.
ANSWERED, REJECTED = "answered", "rejected"


class Done(NamedTuple):
    """A part that was answered, and how often which came of its photographs."""

    number: int
    met: Counter[str]


def answer_parts(
    plan: Plan, parts: Iterable[int], classifier: Classifier, *, workers: int, top_k: int
) -> Iterator[Done]:
    """Answer parts one after the other and yield each when its file is there.

    All of them are one stream: no core waits for the last photograph of a part, nor for its file.
    """
    waiting: deque[tuple[int, list[str]]] = deque()

    def paths() -> Iterator[str]:
        for number in parts:
            waiting.append((number, plan.paths(number)))
            yield from map(as_path, waiting[-1][1])

    outcomes: list[Prediction | ImageError] = []
    for result in classify_stream(classifier, paths(), workers=workers, top_k=top_k, fetcher=fetcher):
        outcomes.append(result.outcome)
        number, planned = waiting[0]
        if len(outcomes) == len(planned):
            plan.place.write(name_of(number), to_parquet(to_table(planned, outcomes)))
            yield Done(number, Counter(map(kind, outcomes)))
            waiting.popleft()
            outcomes = []


def not_fetched(plan: Plan, parts: Iterable[int]) -> set[int]:
    """Return which of some parts have photographs that could not be fetched when they were answered."""
    found = ((number, answers_of(plan, number, ["error"])) for number in parts)
    return {number for number, table in found if table is not None and "download_failed" in table["error"].to_pylist()}


def answers_of(plan: Plan, number: int, columns: list[str] | None = None) -> pa.Table | None:
    """Return the answers of a part, ``None`` if there are none.

    Raises:
        BatchError: the file is damaged.
    """
    content = plan.place.read(name_of(number))
    return None if content is None else read_table(content, f"{plan.place.address}/{name_of(number)}", columns)


def kind(outcome: Prediction | ImageError) -> str:
    """Return whether a photograph was answered or rejected, or the code of what keeps it from that."""
    if isinstance(outcome, Prediction):
        return REJECTED if outcome.rejected else ANSWERED
    return outcome.code


def to_table(paths: Sequence[str], outcomes: Sequence[Prediction | ImageError]) -> pa.Table:
    """Return a row for each photograph, in order."""
    return pa.Table.from_pylist(list(map(_row, paths, outcomes)), SCHEMA)


def _row(path: str, outcome: Prediction | ImageError) -> dict[str, Any]:
    if isinstance(outcome, Prediction):
        return {"path": path, **outcome.as_dict(), "all_predictions": list(outcome.all_predictions.items())}
    return {"path": path, "error": outcome.code, "message": as_utf8(outcome.message)}


def as_utf8(text: str) -> str:
    """Return a message with what is no text in it, such as bytes of a file name, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def results(table: pa.Table) -> Iterator[Result]:
    """Yield what a table holds as ``flowers classify`` has it."""
    for row in table.to_pylist():
        path, error, message = (row.pop(name) for name in ("path", "error", "message"))
        yield Result(path, _prediction(row) if error is None else ImageError(error, message))


def _prediction(row: dict[str, Any]) -> Prediction:
    values = {name: round(value, DIGITS) for name, value in row.pop("all_predictions")}
    numbers = {name: round(row.pop(name), DIGITS) for name in ("confidence", "known")}
    return Prediction(**row, **numbers, all_predictions=values)
