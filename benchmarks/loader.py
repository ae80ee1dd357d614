"""Is training held up by its photographs? CPU a photograph of loading them, of that without decoding, and of the model.

    python benchmarks/loader.py PHOTOS [--count 160] [--network tf_efficientnet_lite0] [--side 224] [--epochs 3]

The loader is that of ``flowers train``, in this process. Without decoding means: what was decoded in an epoch is kept
in memory for those after it, as a cache would; the same seeds then give the same pixels, bit for bit, which is checked.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from measured import spread

import flowercli.training  # noqa: F401  (before torch)
from flowercli.data.manifest import Entry
from flowercli.inference.preprocess import PreprocessSpec
from flowercli.training import dataset
from flowercli.training.config import compose_config
from flowercli.training.dataset import AugmentedPhotos, PhotoDataset, training_transform
from flowercli.training.loading import PhotoLoader
from flowercli.training.sampler import EpochSampler

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 16
SEED = 2024


def main() -> None:
    """Measure the three, and print how much of a step is what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    loader, sampler, photos = made(asked)
    read, pixels = epochs(loader, sampler, asked.epochs)
    keep_what_is_decoded()
    epochs(loader, sampler, 1)
    kept, same = epochs(loader, sampler, asked.epochs)
    assert all(torch.equal(one, other) for one, other in zip(pixels, same, strict=True))
    model = step_of(asked.network, pixels[0])
    print(f"{photos} photographs at {asked.side} px, {asked.epochs} epochs; CPU a photograph, median (least to most)")
    print(f"loading them                {spread(read, ' ms')}")
    print(
        f"without decoding            {spread(kept, ' ms')}: {middle(read) / middle(kept):.2f} times as fast; {held()}"
    )
    print(f"{asked.network:<27} {spread(model, ' ms')}, forward, backward and update, fp32")
    print(
        f"decoding is {(middle(read) - middle(kept)) / (middle(read) + middle(model)):.1%} of what training takes here"
    )


def made(asked: argparse.Namespace) -> tuple[PhotoLoader, EpochSampler, int]:
    """Return the loader that training has, its sampler, and how many photographs it draws."""
    found = sorted(asked.photos.resolve().rglob("*.jpg"))
    found = found[:: max(1, len(found) // asked.count)][: asked.count]
    entries = [Entry(str(path.relative_to(asked.photos.resolve())), path.parent.name, "train", "") for path in found]
    names = sorted({entry.class_name for entry in entries})
    spec = PreprocessSpec(asked.side, asked.side, "bicubic", 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    plain = PhotoDataset.of(asked.photos.resolve(), entries, names, spec)
    augmented = AugmentedPhotos(plain, training_transform(compose_config([]).augment, spec))
    sampler = EpochSampler(plain.targets, BATCH, SEED, "shuffle")
    return PhotoLoader(augmented, BATCH, sampler=sampler), sampler, len(sampler)


def epochs(loader: PhotoLoader, sampler: EpochSampler, count: int) -> tuple[list[float], list[torch.Tensor]]:
    """Go through some epochs; return milliseconds of the CPU a photograph, and the pixels of the last epoch."""
    taken, pixels = [], []
    for epoch in range(1, count + 1):
        sampler.set_position(epoch)
        started = time.process_time()
        pixels = [batch for batch, _ in loader]
        taken.append(1000 * (time.process_time() - started) / len(sampler))
    return taken, pixels


KEPT: dict[str, Any] = {}


def keep_what_is_decoded() -> None:
    """Have photographs decoded once."""
    decode: Callable[..., Any] = dataset.load_upright

    def kept(source: Any, side: int) -> Any:
        if str(source) not in KEPT:
            KEPT[str(source)] = decode(source, side)
        return KEPT[str(source)]

    dataset.load_upright = kept


def held() -> str:
    """Say what that takes."""
    sizes = [image.width * image.height * 3 for image in KEPT.values()]
    return f"{sum(sizes) / len(sizes) / 1000:.0f} kB a photograph"


def step_of(network: str, pixels: torch.Tensor, steps: int = 4) -> list[float]:
    """Return milliseconds of the CPU a photograph of some steps of training."""
    model = timm.create_model(network, num_classes=5).train()
    optimizer = torch.optim.Adam(model.parameters())
    batch, targets, taken = pixels.float() / 255, torch.zeros(len(pixels), dtype=torch.long), []
    for _ in range(steps):
        started = time.process_time()
        loss = torch.nn.functional.cross_entropy(model(batch), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken.append(1000 * (time.process_time() - started) / len(pixels))
    return taken[1:]


def middle(values: list[float]) -> float:
    """Return the median."""
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
