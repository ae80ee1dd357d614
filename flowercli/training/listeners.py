"""What is told of a run while it goes on, who hears of it, and the table of its epochs; no torch.

The table is a file beside the run's checkpoints while it goes on, and beside its bundle's files then.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

EPOCHS = "epochs.csv"
# What each number of a report is called, in the table and in MLflow.
NAMES = {
    "loss": "train_loss",
    "val_accuracy": "val_accuracy",
    "val_loss": "val_loss",
    "images_per_second": "images_per_second",
    "memory": "memory_mib",
}


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave. ``val_accuracy`` is ``None`` where the epoch was not followed by a validation.

    ``memory`` is what the process holds at the end of the epoch, in MiB, without its data workers.
    """

    epoch: int
    loss: float
    learning_rate: float
    images_per_second: float
    memory: float
    val_accuracy: float | None
    val_loss: float | None


class Listener:
    """Whoever shows or records the progress of a run; what it has no method for of its own, it passes over."""

    def started(self, name: str, identity: str) -> None:
        """The run begins, or goes on: its bundle will be called ``name``, and ``identity`` is its alone."""

    def step(self, epoch: int, step: int, steps: int, loss: float, learning_rate: float) -> None:
        """One optimizer update is done; the learning rate is the one that it used."""

    def epoch_done(self, report: EpochReport) -> None:
        """One epoch, with its validation if it had one, is done."""

    def say(self, message: str) -> None:
        """Something happened that the user should know."""

    def phase(self, what: str) -> None:
        """Something begins that takes a while, other than the steps of an epoch; ``what`` is said until the next."""

    def advance(self, step: str, parts: int, done: int = 1, /) -> None:
        """Something of the whole run beside the training goes on, as a :class:`flowercli.progress.Advance`."""

    def warn(self, message: str) -> None:
        """Something could not be done; the bundle is there without it."""


def together(*listeners: Listener) -> Listener:
    """Return several listeners as one; none at all, where a process is not the first of its run."""

    def telling(event: str) -> Callable[..., None]:
        def tell(*what: Any, **more: Any) -> None:
            for listener in listeners:
                getattr(listener, event)(*what, **more)

        return tell

    events = ("started", "step", "epoch_done", "say", "phase")
    return cast("Listener", SimpleNamespace(**{event: telling(event) for event in events}))


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
