"""The files that ``dvc metrics`` and ``dvc plots`` read: numbers of an evaluation, confusion and learning curves."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from flowercli.atomic import write_text
from flowercli.bundle import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from flowercli.training.evaluation import Evaluation

METRICS, CONFUSION, LEARNING = "metrics.json", "confusion.csv", "learning.csv"
CURVES = ("epoch", "loss", "learning_rate", "val_accuracy", "val_loss")


def write_dvc_files(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write ``metrics.json``, ``confusion.csv`` and ``learning.csv`` into a folder, which is made if need be.

    The confusion is that of the last variant, which ``classify`` runs on a CPU: one row a photograph, ``actual`` and
    ``predicted``. The learning curves are one row an epoch, empty where there was no validation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {evaluation.split: {variant: _numbers(metrics) for variant, metrics in evaluation.variants.items()}}
    names = evaluation.bundle.class_names
    answers = list(evaluation.answers.values())[-1]
    pairs = [
        (names[actual], names[predicted])
        for actual, predicted in zip(answers.targets, answers.predictions, strict=True)
    ]
    epochs = evaluation.bundle.section.get("history", [])
    texts = {
        METRICS: to_json(numbers),
        CONFUSION: _csv(("actual", "predicted"), pairs),
        LEARNING: _csv(CURVES, ([epoch.get(key) for key in CURVES] for epoch in epochs)),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Keep one number a metric: an interval beside each would drown ``dvc metrics diff``."""
    return {key: value["value"] for key, value in metrics.items() if isinstance(value, dict) and "value" in value}


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
