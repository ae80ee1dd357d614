"""Mixup and CutMix: pictures of two photographs, with targets to match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody uses)
from timm.data import Mixup
from torch import Tensor

from flowercli.training.parts import part_sizes

if TYPE_CHECKING:
    from flowercli.training.schema import AugmentConfig


@dataclass(frozen=True)
class Batch:
    """A batch as the loss sees it.

    ``pixels`` ``[N, 3, H, W]`` 0…255, ``float32`` where they are mixed; ``soft_targets`` probabilities ``[N, C]``;
    ``class_indices`` ``[N]``, or ``None`` where every picture is a mixture of two.
    """

    pixels: Tensor
    soft_targets: Tensor
    class_indices: Tensor | None

    def __len__(self) -> int:
        return len(self.pixels)

    def parts(self, size: int) -> list[Batch]:
        """Return the batch in parts of about equal size, none larger than ``size``, and none of one picture."""
        sizes = part_sizes(len(self), size)
        indices = [None] * len(sizes) if self.class_indices is None else torch.split(self.class_indices, sizes)
        columns = zip(torch.split(self.pixels, sizes), torch.split(self.soft_targets, sizes), indices, strict=True)
        return [Batch(*column) for column in columns]


class Mixer:
    """Mixes some of the batches (Zhang et al., 2018; Yun et al., 2019) and smooths the targets of all.

    What is drawn depends on the generators alone: seeded alike, it mixes each part of a batch in the same way.
    """

    def __init__(self, config: AugmentConfig, label_smoothing: float, num_classes: int, batch_size: int) -> None:
        self.label_smoothing = label_smoothing
        self.num_classes = num_classes
        # timm pairs each picture with its mirror position and so wants an even batch. Then all of its parts are.
        self.is_even = batch_size % 2 == 0
        self.probability = config.mix_probability if config.mixup or config.cutmix else 0.0
        self.mixup = Mixup(config.mixup, config.cutmix, label_smoothing=label_smoothing, num_classes=num_classes)

    def __call__(self, pixels: Tensor, class_indices: Tensor) -> Batch:
        """Return a part of a batch, mixed or not."""
        if self.is_even and torch.rand(()).item() < self.probability:
            mixed, soft_targets = self.mixup(pixels.float(), class_indices)
            return Batch(mixed, soft_targets, None)
        return Batch(pixels, smooth_targets(class_indices, self.num_classes, self.label_smoothing), class_indices)


def smooth_targets(class_indices: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Return one-hot targets ``[N, C]`` with ``smoothing`` spread evenly over all classes."""
    return F.one_hot(class_indices, num_classes).float() * (1 - smoothing) + smoothing / num_classes
