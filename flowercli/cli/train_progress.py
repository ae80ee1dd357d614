"""What ``flowers train`` shows: its photographs, a bar on a terminal, and a line an epoch and a phase everywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.bundle import WEIGHTS
from flowercli.cli.output import note, print_table, stderr_console, warn
from flowercli.cli.progress import Parts, Steps
from flowercli.data.changes import stratified_command
from flowercli.data.split import SPLITS
from flowercli.shown import counted, in_shell, percent
from flowercli.training.listeners import EpochReport, Listener

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.training.run import TrainResult
    from flowercli.training.schema import TrainConfig


SHOWN = 3


class TrainingProgress(Steps, Listener):
    """The watcher of a run on the command line."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.started_at = time.monotonic()
        self._stepped = False
        super().__init__(Parts(), seconds=0)

    def phase(self, what: str) -> None:
        """Say what begins, and start the bar anew."""
        note(f"{what} …")
        self._step = ""
        self._begin(what, None)

    def step(self, epoch: int, step: int, steps: int, loss: float, _learning_rate: float) -> None:
        """Move the bar."""
        epochs, total = self.config.epochs, steps * self.config.epochs
        done = (epoch - 1) * steps + step
        if not self._stepped:
            self._stepped = True
            # What a resumed run did before is no speed of this one.
            self._bars.reset(self._task, total=total, completed=done)
            note(f"Epoch {epoch}, step {step} of {steps}: loss {loss:.4f}")
        validates = step == steps and (epoch % self.config.validate_every == 0 or epoch == epochs)
        what = "validation" if validates else f"loss {loss:.4f}"
        self._bars.update(self._task, completed=done, total=total, description=f"epoch {epoch}/{epochs}  {what}")

    def epoch_done(self, report: EpochReport) -> None:
        """Print the line of an epoch."""
        text = (
            f"epoch {report.epoch}/{self.config.epochs}  loss {report.loss:.4f}  "
            f"lr {report.learning_rate:.1e}  {report.images_per_second:.0f} img/s  "
            f"{report.memory / 1024:.1f} GiB"
        )
        if report.val_accuracy is not None:
            text += f"  val {percent(report.val_accuracy, 2)}, loss {report.val_loss:.4f}"
        stderr_console().print(text, markup=False, soft_wrap=True)

    def say(self, message: str) -> None:
        """Print a note of the run."""
        note(message)

    def warn(self, message: str) -> None:
        """Print what a finished run lacks."""
        warn(message)

    def summarise(self, result: TrainResult) -> None:
        """Print how the run ended and what to type next."""
        section, path = result.bundle.section, result.bundle.path
        size = section["files"][WEIGHTS]["size"] / 1e6
        lines = [
            f"Best on validation after epoch {result.best_epoch} of {len(result.history)}: {_metrics(section, 'val')}"
        ]
        if "test" in section["metrics"]:
            lines.append(f"Test: {_metrics(section, 'test')}; choose runs by validation")
        lines += [
            f"Took {duration(time.monotonic() - self.started_at)}; the weights are {size:.1f} MB.",
            "Next:",
            f"  flowers eval {in_shell(path)}",
            f"  flowers export {in_shell(path)} --onnx --int8",
            f"  flowers classify PICTURE --model {in_shell(path)}",
        ]
        stderr_console().print("\n".join(lines), markup=False, soft_wrap=True)


def _metrics(section: Mapping[str, Any], split: str) -> str:
    """Return what is said of a split: accuracy of so many photographs, and macro F1."""
    metrics = section["metrics"][split]["torch"]
    text = f"accuracy {percent(metrics['accuracy']['value'])} of {metrics['photos']}"
    return f"{text}, macro F1 {percent(metrics['macro_f1']['value'])}" if "macro_f1" in metrics else text


def duration(seconds: float) -> str:
    """Return a time in the units that a person would choose: ``42 s``, ``12 min 5 s``, ``3 h 20 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def print_outline(config: TrainConfig, manifest: Manifest) -> None:
    """Print on stderr what the run learns from: a line a split, whatever the number of classes; and warn of gaps."""
    note(f"{config.data.path}: {len(manifest.class_names)} classes, {counted(len(manifest.photos), 'photograph')}")
    rows = [_row(manifest, split) for split in SPLITS]
    columns = ("Split", "Photographs", "Smallest class", "Largest class", *(["Outliers"] if manifest.outliers else []))
    print_table(columns, rows, left=("Smallest class", "Largest class"), console=stderr_console())
    _warn_of_gaps(config, manifest)


def _row(manifest: Manifest, split: str) -> tuple[str, ...]:
    counts = manifest.counts(split)
    names = sorted(counts, key=counts.__getitem__)
    ends = [f"{counts[name]} {name}" for name in (names[0], names[-1])]
    outliers = [str(len(manifest.outliers_of(split)))] if manifest.outliers else []
    return (split, str(sum(counts.values())), *ends, *outliers)


def _warn_of_gaps(config: TrainConfig, manifest: Manifest) -> None:
    gaps = {split: [name for name, count in manifest.counts(split).items() if not count] for split in SPLITS[1:]}
    # A split without photographs is wanted, or told by what needs it.
    told = {split: names for split, names in gaps.items() if 0 < len(names) < len(manifest.class_names)}
    for split, names in told.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        warn(f"no photograph in {split} of {len(names)} of the classes: {', '.join(names[:SHOWN])}{more}.")
    if told:
        data = config.data
        outliers = None if data.outliers is None else Path(data.outliers)
        again = stratified_command(Path(data.path), manifest, outliers, data.manifest)
        without = f"Add photographs and split again{'' if manifest.stratified else ', with --stratify'}."
        note(without if again is None else f"To give each class its share: {again}")
