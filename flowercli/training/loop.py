"""The training loop, to be read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from timm.utils import ModelEmaV3

from flowercli.errors import TrainingError
from flowercli.training.device import make_accelerator
from flowercli.training.losses import TrainingLoss, ask_teachers
from flowercli.training.mixing import Mixer
from flowercli.training.optim import make_optimizer, make_schedule
from flowercli.training.predict import predict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.utils.data import DataLoader

    from flowercli.training.config import TrainConfig
    from flowercli.training.model import PixelClassifier
    from flowercli.training.predict import Outputs


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave. ``val_accuracy`` is ``None`` where the epoch was not followed by a validation."""

    epoch: int
    loss: float
    learning_rate: float
    images_per_second: float
    val_accuracy: float | None
    val_loss: float | None


class Listener(Protocol):
    """Whoever shows the progress of a run."""

    def step(self, epoch: int, step: int, steps: int, loss: float, learning_rate: float) -> None:
        """One optimizer update is done; the learning rate is the one that it used."""

    def epoch_done(self, report: EpochReport) -> None:
        """One epoch, with its validation if it had one, is done."""


@dataclass(frozen=True)
class Fitted:
    """The model that was best on validation, its outputs there, and the history of all epochs."""

    model: PixelClassifier
    best_epoch: int
    val: Outputs
    history: list[EpochReport]


def fit(
    config: TrainConfig,
    model: PixelClassifier,
    teachers: Sequence[PixelClassifier],
    train: DataLoader[tuple[Tensor, Tensor]],
    val: DataLoader[tuple[Tensor, Tensor]],
    listener: Listener,
) -> Fitted:
    """Train, validate every few epochs, and return the weights that were best on validation.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    accelerator = make_accelerator(config.device, config.precision)
    device = accelerator.device
    for network in (model, *teachers):
        network.to(device).to(memory_format=torch.channels_last)
    mixer = Mixer(config.augment, config.loss.label_smoothing, model.num_classes)
    criterion = TrainingLoss(config.loss, config.distill, model.embedding_size).to(device)
    optimizer = make_optimizer(config.optim, model, criterion)
    schedule = make_schedule(config.optim, optimizer, config.epochs, len(train))
    average = ModelEmaV3(model, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
    best: Fitted | None = None
    history: list[EpochReport] = []
    stale = 0

    for epoch in range(1, config.epochs + 1):
        model.train()
        total_loss, started = 0.0, time.perf_counter()
        for step, (pixels, class_indices) in enumerate(train, start=1):
            batch = mixer(pixels.to(device).float(), class_indices.to(device))
            with accelerator.autocast():
                logits, embedding = model(batch.pixels)
                teacher_logits = ask_teachers(teachers, batch.pixels)
            loss = criterion(logits.float(), embedding.float(), batch, teacher_logits)
            accelerator.backward(loss)
            if config.optim.clip_grad_norm:
                accelerator.clip_grad_norm_(model.parameters(), config.optim.clip_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            learning_rate = float(schedule.get_last_lr()[0])
            schedule.step()
            if average is not None:
                average.update(model, step=(epoch - 1) * len(train) + step)
            value = _finite(loss.item(), epoch, step)
            total_loss += value
            listener.step(epoch, step, len(train), value, learning_rate)
        images_per_second = len(train) * config.batch_size / (time.perf_counter() - started)

        outputs = None
        if epoch % config.validate_every == 0 or epoch == config.epochs:
            candidate = model if average is None else average.module
            outputs = predict(candidate, val, device)
            stale += 1
            if best is None or _better(outputs, best.val):
                best, stale = Fitted(copy.deepcopy(candidate), epoch, outputs, history), 0
        mean_loss, rate = total_loss / len(train), schedule.get_last_lr()[0]
        accuracy, val_loss = (None, None) if outputs is None else (outputs.accuracy, outputs.log_loss)
        history.append(EpochReport(epoch, mean_loss, float(rate), images_per_second, accuracy, val_loss))
        listener.epoch_done(history[-1])
        if config.patience and stale >= config.patience:
            break

    assert best is not None  # The last epoch is always validated, and patience counts validations.
    return best


def _better(outputs: Outputs, than: Outputs) -> bool:
    """Compare on accuracy, and on log loss where that is equal, as it often is on a small split."""
    return (outputs.accuracy, -outputs.log_loss) > (than.accuracy, -than.log_loss)


def _finite(loss: float, epoch: int, step: int) -> float:
    if math.isfinite(loss):
        return loss
    message = f"The loss is {loss} at epoch {epoch}, step {step}."
    raise TrainingError(message, hint="Try a lower learning rate (--lr) or precision=fp32.")
