"""What changes while a model learns (weights, their average, optimizer, schedule), and one update of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from flowercli.errors import TrainingError
from flowercli.training.convolutions import avoid_strided_pointwise, speed_up_depthwise
from flowercli.training.device import make_accelerator
from flowercli.training.exchange import BatchStatistics, Exchange
from flowercli.training.learner_state import check_state
from flowercli.training.losses import TrainingLoss, ask_teachers
from flowercli.training.mixing import Batch, Mixer
from flowercli.training.optim import make_optimizer, make_schedule
from flowercli.training.parts import Share
from flowercli.training.process_group import ALONE, ProcessGroup
from flowercli.training.randomness import STEP, derive_seed, seed_all

if TYPE_CHECKING:
    from flowercli.training.interrupt import StopRequest
    from flowercli.training.model import PixelClassifier
    from flowercli.training.schema import TrainConfig


class Learner:
    """A model in training.

    Args:
        config: the run's.
        model: the network that learns.
        teachers: networks whose answers it also learns from.
        class_counts: photographs of each class in the training split, ``[C]``; the outliers last, if there are any.
        steps_per_epoch: optimizer updates an epoch.
        say: called with what the user should know.
        group: the processes that compute each update together.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: PixelClassifier,
        teachers: Sequence[PixelClassifier],
        class_counts: Sequence[int],
        steps_per_epoch: int,
        say: Callable[[str], None],
        group: ProcessGroup = ALONE,
    ) -> None:
        self.accelerator = make_accelerator(config.device, config.precision)
        for network in (model, *teachers):
            network.to(self.device).to(memory_format=torch.channels_last)
        if self.device.type == "cpu":
            avoid_strided_pointwise(model)
            if self.accelerator.mixed_precision == "bf16":
                speed_up_depthwise(model)
        group.require_device(self.device.type)
        self.config, self.model, self.teachers, self.say = config, model, teachers, say
        self.steps_per_epoch = steps_per_epoch
        self.mixer = Mixer(config.augment, config.loss.label_smoothing, len(class_counts), config.batch_size)
        self.criterion = TrainingLoss(config.loss, config.distill, model.embedding_size, class_counts).to(self.device)
        # Prepared, so that fp16's loss scale is undone before clipping and before the step.
        self.optimizer = self.accelerator.prepare_optimizer(make_optimizer(config.optim, model, self.criterion))
        self.schedule = make_schedule(config.optim, self.optimizer.optimizer, config.epochs, steps_per_epoch)
        self.average = ModelEmaV3(model, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
        self.group, self.share = group, Share.of(config, group.rank, group.size)
        self.exchange = Exchange(group, model, self.optimizer)
        # Whether any process was asked to stop, as all of them know it after an update.
        self.stops = False
        self.micro_batch = min(config.micro_batch or config.batch_size, config.batch_size)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def candidate(self) -> PixelClassifier:
        """The weights that are validated and kept: the average where there is one."""
        average: PixelClassifier | None = None if self.average is None else self.average.module
        return self.model if average is None else average

    @property
    def learning_rate(self) -> float:
        """That of the next update, for the backbone."""
        return float(self.schedule.get_last_lr()[0])

    def start_epoch(self, epoch: int) -> None:
        """Switch to training; in the first ``optim.freeze_epochs`` epochs only the new layers learn."""
        optim = self.config.optim
        self.model.train()
        self.model.freeze_backbone(frozen=epoch <= optim.freeze_epochs, stages=optim.freeze_stages)

    def update(
        self, pixels: Tensor, class_indices: Tensor, epoch: int, step: int, stop: StopRequest | None = None
    ) -> float:
        """Make one optimizer update and return its loss.

        Where the memory does not hold a part of the batch, it is taken in smaller ones until it does, and their
        gradients added up: the update stays one of ``batch_size`` photographs.

        Args:
            pixels: ``uint8`` ``[N, 3, H, W]``, of this process's share of the batch.
            class_indices: targets ``[N]``.
            epoch: from 1 on.
            step: of the epoch, from 1 on.
            stop: whether this process was asked to stop; what all were asked is in ``stops`` then.

        Raises:
            TrainingError: the loss is no longer a number, or not even two photographs fit into memory.
            Exception: what went wrong on another process.
        """
        # A batch of one part leaves its statistics as they come out.
        statistics = BatchStatistics(self.model) if len(self.share.sizes) > 1 else None
        with self.exchange.telling_failure():
            loss = self._within_memory(pixels, class_indices, epoch, step, statistics)
        self.stops = stop is not None and stop.made
        if statistics is not None:
            loss, self.stops = self.exchange.add_up(loss, statistics, stop=self.stops)
            statistics.apply()
        self._apply((epoch - 1) * self.steps_per_epoch + step)
        return loss

    def _within_memory(
        self, pixels: Tensor, class_indices: Tensor, epoch: int, step: int, statistics: BatchStatistics | None
    ) -> float:
        while True:
            try:
                return self._gradients(pixels, class_indices, epoch, step, statistics)
            except (RuntimeError, MemoryError) as error:
                if not (isinstance(error, MemoryError) or should_reduce_batch_size(error)):
                    raise
                self._make_parts_smaller(error)

    def _gradients(
        self, pixels: Tensor, class_indices: Tensor, epoch: int, step: int, statistics: BatchStatistics | None
    ) -> float:
        """Add up the gradients of this process's parts of the batch, and return its share of the loss."""
        pixels, class_indices = pixels.to(self.device), class_indices.to(self.device)
        total = 0.0
        if statistics is not None:
            statistics.forget()
            self.exchange.forget()
        for number, where in self.share.parts.items():
            # Seeded anew each time, so that a repeated or resumed step is the same step: all parts are mixed alike, and
            # what is dropped is drawn for each.
            seed_all(derive_seed(self.config.seed, STEP, epoch, step))
            batch = self.mixer(pixels[where], class_indices[where])
            if number:
                seed_all(derive_seed(self.config.seed, STEP, epoch, step, number))
            if statistics is not None:
                statistics.begin_part()
            total += self._gradients_of(batch, epoch, step)
            if statistics is not None:
                statistics.end_part(len(batch) / self.config.batch_size)
                self.exchange.keep()
        return total

    def _gradients_of(self, batch: Batch, epoch: int, step: int) -> float:
        total = 0.0
        for part in batch.parts(self.micro_batch):
            with self.accelerator.autocast():
                logits, embedding = self.model(part.pixels)
                logits = self.model.with_none(logits, embedding)
                teacher_logits = ask_teachers(self.teachers, part.pixels)
            loss = self.criterion(logits.float(), embedding.float(), part, teacher_logits)
            share = len(part) / self.config.batch_size
            total += share * _finite(loss.item(), epoch, step)
            self.accelerator.backward(loss * share)
        return total

    def _apply(self, updates: int) -> None:
        if self.config.optim.clip_grad_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        if self.average is not None:
            self.average.update(self.model, step=updates)

    def _make_parts_smaller(self, error: Exception) -> None:
        self.optimizer.zero_grad()
        # Batch normalisation needs two.
        if self.micro_batch < 4:  # noqa: PLR2004
            message = f"The memory does not hold {self.micro_batch} photographs of this size."
            raise TrainingError(message, hint="Try a smaller augment.image_size or model.image_size.") from error
        self.micro_batch = -(-self.micro_batch // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.say(
            f"Out of memory: from now on {self.micro_batch} photographs at a time, gradients added up to batches of "
            f"{self.config.batch_size}. To start like that: micro_batch={self.micro_batch}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later update depends on."""
        scaler = self.accelerator.scaler
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "micro_batch": self.micro_batch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where ``state_dict`` was called.

        Raises:
            Exception: of whatever type, where it is damaged or of another model.
        """
        check_state(self.state_dict(), state)
        modules: list[tuple[str, nn.Module]] = [("model", self.model), ("criterion", self.criterion)]
        if self.average is not None:
            modules.append(("average", self.average.module))
        for name, module in modules:
            module.load_state_dict(state[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.micro_batch = state["micro_batch"]


def _finite(loss: float, epoch: int, step: int) -> float:
    if math.isfinite(loss):
        return loss
    message = f"The loss is {loss} at epoch {epoch}, step {step}."
    raise TrainingError(message, hint="Try a lower learning rate (--lr) or precision=fp32.")
