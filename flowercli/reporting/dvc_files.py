"""The files that ``dvc metrics`` and ``dvc plots`` read: numbers of an evaluation, confusion and learning curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.atomic import write_text
from flowercli.bundle import to_json
from flowercli.shown import one_line

if TYPE_CHECKING:
    from flowercli.evaluation.evaluate import Evaluation

METRICS, CONFUSION = "metrics.json", "confusion.csv"
# Two files, because not every epoch is validated, and a plot takes an empty field for zero.
CURVES = {"training.csv": ("epoch", "loss", "learning_rate"), "validation.csv": ("epoch", "val_accuracy", "val_loss")}
CHECKS = ("drop", "agreement", "size")


def write_dvc_files(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write ``metrics.json``, ``confusion.csv`` and the learning curves into a folder, which is made if need be.

    The confusion is that of the last variant, which ``classify`` runs on a CPU: one row a photograph, ``actual`` and
    ``predicted``. ``training.csv`` has one row an epoch, ``validation.csv`` one a validation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {evaluation.split: {variant: _numbers(metrics) for variant, metrics in evaluation.variants.items()}}
    names = [one_line(name) for name in evaluation.bundle.class_names]
    answers = list(evaluation.answers.values())[-1]
    pairs = [
        (names[actual], names[predicted])
        for actual, predicted in zip(answers.targets, answers.predictions, strict=True)
    ]
    epochs = evaluation.bundle.section.get("history", [])
    texts = {METRICS: to_json(numbers), CONFUSION: _csv(("actual", "predicted"), pairs)}
    for name, keys in CURVES.items():
        rows = [[epoch.get(key) for key in keys] for epoch in epochs]
        texts[name] = _csv(keys, (row for row in rows if None not in row))
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def write_dvc_checks(folder: Path, checks: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write the checks of an export, by variant, as ``metrics.json`` into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {
        name: {**{key: check[key] for key in CHECKS}, "accuracy": check["accuracy"]["value"]}
        for name, check in checks.items()
    }
    write_text(folder / METRICS, to_json(numbers))
    return folder / METRICS


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Keep one number a metric: an interval beside each would drown ``dvc metrics diff``."""
    return {key: value["value"] for key, value in metrics.items() if isinstance(value, dict) and "value" in value}


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
