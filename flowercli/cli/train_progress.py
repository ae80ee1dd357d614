"""What ``flowers train`` shows while it runs: a bar on a terminal; a line an epoch and a phase everywhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flowercli.bundle import WEIGHTS
from flowercli.cli.output import note, stderr_console, warn
from flowercli.cli.progress import Parts, Steps
from flowercli.shown import in_shell, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowercli.training.loop import EpochReport
    from flowercli.training.run import TrainResult
    from flowercli.training.schema import TrainConfig


class TrainingProgress(Steps):
    """The watcher of a run on the command line."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.started_at = time.monotonic()
        self._stepped = False
        super().__init__(Parts(), seconds=0)

    def started(self, name: str, identity: str) -> None:
        """Nothing is to be shown yet."""

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
        lines = [
            f"Best on validation after epoch {result.best_epoch} of {len(result.history)}: {_metrics(section, 'val')}"
        ]
        if "test" in section["metrics"]:
            lines.append(f"Test: {_metrics(section, 'test')}; choose runs by validation")
        lines += [
            f"Took {duration(time.monotonic() - self.started_at)}; the weights are {_megabytes(section)}.",
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


def _megabytes(section: Mapping[str, Any]) -> str:
    return f"{section['files'][WEIGHTS]['size'] / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Return a time in the units that a person would choose: ``42 s``, ``12 min 5 s``, ``3 h 20 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
