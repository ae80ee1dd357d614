"""Photographs as torch tensors: randomly transformed for training, by the preprocess spec otherwise."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image, ImageFilter
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import Dataset

from flowercli.data.manifest import Entry, class_indices
from flowercli.data.shards import Photographs, photographs
from flowercli.errors import ImageError
from flowercli.inference.preprocess import PreprocessSpec, load_pixels, load_upright
from flowercli.training.randomness import seeded

if TYPE_CHECKING:
    from flowercli.inference.decode import File
    from flowercli.training.sampler import Draw
    from flowercli.training.schema import AugmentConfig


Pair = tuple[Tensor, Tensor]

QUALITY = (25, 95)
BLUR_RADIUS = (0.3, 1.5)  # pixels
SMALLEST = 0.4  # of the side, when detail is taken away


@dataclass(frozen=True)
class Unreadable:
    """Stands for a photograph that cannot be read: an exception loses its shape on the way from a data worker."""

    path: str
    why: str


class PhotoDataset(Dataset[Pair | Unreadable]):
    """Pairs of ``uint8`` pixels ``[3, H, W]`` and class index, by the preprocess spec."""

    def __init__(self, sources: Photographs, targets: Sequence[int], spec: PreprocessSpec) -> None:
        self.sources, self.targets, self.spec = sources, targets, spec

    @classmethod
    def of(cls, root: Path, photos: Sequence[Entry], class_names: Sequence[str], spec: PreprocessSpec) -> Self:
        """Make one of photographs below ``root`` that a manifest lists."""
        return cls(photographs(root, photos), class_indices(photos, class_names), spec)

    def and_outliers(self, root: Path, outliers: Sequence[Entry], index: int) -> PhotoDataset:
        """Return the same with outliers below ``root`` behind it, whose class index is one behind all classes."""
        sources = self.sources + photographs(root, outliers)
        return PhotoDataset(sources, [*self.targets, *[index] * len(outliers)], self.spec)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, position: int) -> Pair | Unreadable:
        def decode(source: File) -> Tensor:
            return torch.from_numpy(np.array(load_pixels(source, self.spec))).permute(2, 0, 1)

        return self.pair(position, decode)

    def pair(self, position: int, decode: Callable[[File], Tensor]) -> Pair | Unreadable:
        """Return the pixels that ``decode`` makes of a photograph's file, or of its bytes, and its class index."""
        try:
            return decode(self.sources[position]), torch.tensor(self.targets[position])
        except ImageError as error:
            return Unreadable(self.sources.name(position), error.message)


class AugmentedPhotos(Dataset[Pair | Unreadable]):
    """The same pairs, randomly transformed: what is drawn decides the transform, not when or by which worker."""

    def __init__(self, photos: PhotoDataset, augment: Callable[[Image.Image], Tensor]) -> None:
        self.photos = photos
        self.augment = augment
        # Decoded at twice the input size: a random crop may keep no more than a quarter of the area.
        self.decode_side = 2 * max(photos.spec.height, photos.spec.width)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, draw: Draw) -> Pair | Unreadable:
        def decode(source: File) -> Tensor:
            with seeded(draw.seed):
                return self.augment(load_upright(source, self.decode_side))

        return self.photos.pair(draw.photo, decode)


def training_transform(config: AugmentConfig, spec: PreprocessSpec) -> Callable[[Image.Image], Tensor]:
    """Return timm's random training transform, without normalisation: the model does that."""
    height, width = (spec.height, spec.width) if config.image_size is None else (config.image_size,) * 2
    # Any: a torchvision Compose.
    transform: Any = create_transform(
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
    if config.disguise:
        transform.transforms.insert(1, Disguise(config.disguise))  # After the crop, which comes first: fewer pixels.
    result: Callable[[Image.Image], Tensor] = transform
    return result


class Disguise:
    """Hide where a photograph comes from: each of three changes happens to it with the given probability.

    Datasets are compressed and scaled each in its own way. Where one of them holds all pictures of a class, or all that
    show no flower, a network may learn the traces of its encoder instead.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the image, of the same size, changed by what is drawn from Python's ``random``."""
        for change in CHANGES:
            if random.random() < self.probability:  # noqa: S311
                image = change(image)
        return image


def _coarser(image: Image.Image) -> Image.Image:
    scale = random.uniform(SMALLEST, 1)  # noqa: S311
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), _any_filter())
    return small.resize(image.size, _any_filter())


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(random.uniform(*BLUR_RADIUS)))  # noqa: S311


def _encoded(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, random.choice(("JPEG", "WEBP")), quality=random.randint(*QUALITY), method=0)  # noqa: S311
    return Image.open(buffer).convert("RGB")


def _any_filter() -> Image.Resampling:
    return random.choice((Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS))  # noqa: S311


CHANGES: tuple[Callable[[Image.Image], Image.Image], ...] = (_coarser, _blurred, _encoded)
