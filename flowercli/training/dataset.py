"""Photographs as torch tensors: randomly transformed for training, by the preprocess spec otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import Dataset

from flowercli.inference.preprocess import PreprocessSpec, load_pixels, load_upright

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from PIL import Image

    from flowercli.data.manifest import Entry
    from flowercli.training.config import AugmentConfig


class PhotoDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of ``uint8`` pixels ``[3, H, W]`` and class index."""

    def __init__(
        self,
        root: Path,
        photos: Sequence[Entry],
        class_names: Sequence[str],
        spec: PreprocessSpec,
        augment: Callable[[Image.Image], Tensor] | None = None,
    ) -> None:
        index = {name: position for position, name in enumerate(class_names)}
        self.paths = [str(root / photo.path) for photo in photos]
        self.targets = [index[photo.class_name] for photo in photos]
        self.spec = spec
        self.augment = augment

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        path, target = self.paths[position], torch.tensor(self.targets[position])
        if self.augment is not None:
            # Decoded at twice the input size: a random crop may keep no more than a quarter of the area.
            return self.augment(load_upright(path, 2 * max(self.spec.height, self.spec.width))), target
        pixels = np.array(load_pixels(path, self.spec))
        return torch.from_numpy(pixels).permute(2, 0, 1), target


def training_transform(config: AugmentConfig, spec: PreprocessSpec) -> Callable[[Image.Image], Tensor]:
    """Return timm's random training transform, without normalisation: the model does that."""
    height, width = (spec.height, spec.width) if config.image_size is None else (config.image_size,) * 2
    transform: Callable[[Image.Image], Tensor] = create_transform(
        (3, height, width),
        is_training=True,
        scale=tuple(config.scale),
        ratio=tuple(config.ratio),
        hflip=config.horizontal_flip,
        vflip=config.vertical_flip,
        # timm refuses both at once; the policies of auto_augment have colour operations of their own.
        color_jitter=None if config.auto_augment else config.color_jitter or None,
        auto_augment=config.auto_augment,
        interpolation="random" if spec.interpolation == "nearest" else spec.interpolation,
        mean=spec.mean,
        std=spec.std,
        normalize=False,
    )
    return transform
