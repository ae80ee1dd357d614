"""What ``flowers train`` shows while it runs: a bar on a terminal, one line an epoch everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flowercli.cli.output import note, stderr_console
from flowercli.shown import in_shell, percent

if TYPE_CHECKING:
    from flowercli.training.loop import EpochReport
    from flowercli.training.run import TrainResult
    from flowercli.training.schema import TrainConfig


class TrainingProgress:
    """The listener of a run on the command line."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
        )
        console = stderr_console()
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task("train", total=None, epoch=f"1/{config.epochs}", loss=float("nan"))

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.progress.stop()

    def started(self, name: str, identity: str) -> None:
        """Nothing is to be shown yet."""

    def step(self, epoch: int, step: int, steps: int, loss: float, _learning_rate: float) -> None:
        """Move the bar."""
        total = steps * self.config.epochs
        done = (epoch - 1) * steps + step
        self.progress.update(self.task, completed=done, total=total, epoch=f"{epoch}/{self.config.epochs}", loss=loss)

    def epoch_done(self, report: EpochReport) -> None:
        """Print the line of an epoch."""
        text = (
            f"epoch {report.epoch}/{self.config.epochs}  loss {report.loss:.4f}  "
            f"lr {report.learning_rate:.2e}  {report.images_per_second:.1f} img/s  "
            f"{report.memory / 1024:.2f} GiB"
        )
        if report.val_accuracy is not None:
            text += f"  val accuracy {percent(report.val_accuracy, 2)}  val loss {report.val_loss:.4f}"
        stderr_console().print(text, markup=False, soft_wrap=True)

    def say(self, message: str) -> None:
        """Print a note of the run."""
        note(message)

    def summarise(self, result: TrainResult) -> None:
        """Print how the run ended and what to type next."""
        evaluate = f"flowers eval {in_shell(result.bundle.path)} --split test"
        note(f"Best on validation after epoch {result.best_epoch}. Now: {evaluate}")
