"""The table of a run's epochs: a file beside its checkpoints while it goes on, and beside its bundle's files then."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EPOCHS = "epochs.csv"
# What each number of a report is called, in the table and in MLflow.
NAMES = {
    "loss": "train_loss",
    "val_accuracy": "val_accuracy",
    "val_loss": "val_loss",
    "images_per_second": "images_per_second",
    "memory": "memory_mib",
}


def epoch_values(report: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the numbers of an epoch by their names; those of validation are ``None`` where there was none."""
    return {name: report.get(key) for key, name in NAMES.items()}


def epochs_table(history: Iterable[Mapping[str, Any]]) -> str:
    """Return the epochs as CSV, one row each; a field is empty where there is no such number."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("epoch", "learning_rate", *NAMES.values()))
    for report in history:
        values = (report["learning_rate"], *epoch_values(report).values())
        table.writerow((report["epoch"], *("" if value is None else f"{value:.6g}" for value in values)))
    return text.getvalue()
