"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import psutil
import torch

from flowercli.atomic import write_text
from flowercli.training.listeners import EPOCHS, EpochReport, Listener, epochs_table
from flowercli.training.predict import Outputs, predict
from flowercli.training.run_folder import BEST, LAST, RunFolder, loaded

if TYPE_CHECKING:
    from flowercli.training.interrupt import StopRequest
    from flowercli.training.learner import Learner
    from flowercli.training.loading import PhotoLoader
    from flowercli.training.sampler import EpochSampler


@dataclass
class Progress:
    """Where a run is: the epoch, its steps done, what it has summed up so far, and the best validation."""

    epoch: int = 1
    steps_done: int = 0
    loss_sum: float = 0.0
    best_epoch: int = 0
    best_accuracy: float = 0.0
    best_loss: float = 0.0
    stale: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of_state(cls, state: Any) -> Self:
        """Return what a checkpoint holds.

        Raises:
            TypeError, ValueError, AttributeError, KeyError: it is damaged.
        """
        progress = cls(**state)
        for each in fields(cls):
            value, wanted = getattr(progress, each.name), each.type
            fits = isinstance(value, int | float) if wanted == "float" else str(wanted).startswith(type(value).__name__)
            if not fits or (wanted == "int" and value < 0):
                raise ValueError(f"{each.name} is no such value")
        done = [entry["epoch"] for entry in progress.history]
        if len(done) != progress.epoch - 1 or done != list(range(1, progress.epoch)):
            raise ValueError("history is not that of the epochs before")
        return progress

    def is_better(self, accuracy: float, log_loss: float) -> bool:
        """Compare on accuracy, and on log loss where that is equal, as it often is on a small split."""
        return not self.best_epoch or (accuracy, -log_loss) > (self.best_accuracy, -self.best_loss)


def fit(
    learner: Learner,
    train: PhotoLoader,
    sampler: EpochSampler,
    val: PhotoLoader,
    run: RunFolder,
    stop: StopRequest,
    listener: Listener,
) -> Progress:
    """Train, validate every few epochs, and leave the weights that were best on validation in the run's ``best.pt``.

    Goes on from the run's last checkpoint if there is one. Of several processes each computes its share of each update
    and validation, and the first alone writes.

    Raises:
        UnreadablePhotoError: a photograph cannot be read.
        TrainingError: the loss is no longer a number, the memory does not hold two photographs, or a checkpoint
            is damaged.
        KeyboardInterrupt: the run was asked to stop; everything is in its last checkpoint.
    """
    config = run.config
    progress = _resume(learner, run)
    saved_at = time.monotonic()

    while progress.epoch <= config.epochs and not (config.patience and progress.stale >= config.patience):
        learner.start_epoch(progress.epoch)
        sampler.set_position(progress.epoch, progress.steps_done)
        started, resumed_at = time.perf_counter(), progress.steps_done

        for pixels, class_indices in learner.exchange.each(train):
            step = progress.steps_done + 1
            learning_rate = learner.learning_rate
            loss = learner.update(pixels, class_indices, progress.epoch, step, stop)
            progress.steps_done, progress.loss_sum = step, progress.loss_sum + loss
            listener.step(progress.epoch, step, sampler.steps, loss, learning_rate)
            if learner.stops:
                _save(learner, progress, run)
                raise KeyboardInterrupt
            if time.monotonic() - saved_at >= 60 * config.checkpoint_minutes:
                _save_if_possible(learner, progress, run, listener)
                saved_at = time.monotonic()

        seconds = time.perf_counter() - started
        images_per_second = (sampler.steps - resumed_at) * config.batch_size / seconds
        validation = None
        if progress.epoch % config.validate_every == 0 or progress.epoch == config.epochs:
            validation = _validate(learner, val, progress, run)
        report = _report(learner, progress, validation, images_per_second, sampler.steps)
        progress.history.append(asdict(report))
        progress.epoch, progress.steps_done, progress.loss_sum = progress.epoch + 1, 0, 0.0
        _save_if_possible(learner, progress, run, listener)
        saved_at = time.monotonic()
        listener.epoch_done(report)
    if progress.epoch <= config.epochs:
        listener.say(
            f"Stopped early after epoch {progress.epoch - 1}: {progress.stale} validations in a row were no better."
        )
    return progress


def save_start(learner: Learner, run: RunFolder) -> None:
    """Write the first checkpoint, so that a new run can be resumed without the weights it started from."""
    if not (run.path / LAST).is_file():
        _save(learner, Progress(), run)


def _resume(learner: Learner, run: RunFolder) -> Progress:
    # All processes start from what the first one has.
    saved = learner.group.from_first(run.read(LAST) if learner.group.leads else None)
    if saved is None:
        save_start(learner, run)
        return Progress()
    with run.telling_damage(LAST):
        state = loaded(saved)
        learner.load_state_dict(state["learner"])
        return Progress.of_state(state["progress"])


def _save(learner: Learner, progress: Progress, run: RunFolder) -> None:
    if learner.group.leads:
        run.save(LAST, {"learner": learner.state_dict(), "progress": asdict(progress)})


def _validate(learner: Learner, val: PhotoLoader, progress: Progress, run: RunFolder) -> tuple[float, float]:
    """Return accuracy and log loss on validation, each process asking about its share; keep the weights if best."""
    group = learner.group
    shares = group.gathered(group.together(lambda: predict(learner.candidate, val, learner.device)))
    outputs = Outputs.dealt(shares) if group.leads else None
    accuracy, log_loss = group.from_first((outputs.accuracy, outputs.log_loss) if outputs is not None else (0.0, 0.0))
    progress.stale += 1
    if progress.is_better(accuracy, log_loss):
        progress.best_epoch, progress.stale = progress.epoch, 0
        progress.best_accuracy, progress.best_loss = accuracy, log_loss
        if outputs is not None:
            _keep_best(learner, progress.epoch, outputs, run)
    return accuracy, log_loss


def _save_if_possible(learner: Learner, progress: Progress, run: RunFolder, listener: Listener) -> None:
    """Save; where the disk is full, say so and go on: the checkpoint before is still there."""
    if not learner.group.leads:
        return
    try:
        _save(learner, progress, run)
        write_text(run.path / EPOCHS, epochs_table(progress.history))
    except OSError as error:
        listener.say(f"The checkpoint could not be written ({error.strerror}); the one before is kept.")


def _keep_best(learner: Learner, epoch: int, outputs: Outputs, run: RunFolder) -> None:
    val = {name: torch.from_numpy(values) for name, values in vars(outputs).items()}
    run.save(BEST, {"epoch": epoch, "model": learner.candidate.state_dict(), "val": val})


def _report(
    learner: Learner, progress: Progress, validation: tuple[float, float] | None, images_per_second: float, steps: int
) -> EpochReport:
    val_accuracy, val_loss = validation or (None, None)
    return EpochReport(
        epoch=progress.epoch,
        loss=progress.loss_sum / steps,
        learning_rate=learner.learning_rate,
        images_per_second=images_per_second,
        memory=psutil.Process().memory_info().rss / 2**20,
        val_accuracy=val_accuracy,
        val_loss=val_loss,
    )
