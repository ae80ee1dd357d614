"""One training run: from a configuration to a bundle in ``runs/<time>-<model>/``."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate.utils import set_seed
from torch.utils.data import DataLoader

from flowercli.atomic import new_folder
from flowercli.bundle import Bundle
from flowercli.data.manifest import missing_photos
from flowercli.errors import DataError
from flowercli.inference.novelty import Novelty
from flowercli.training.dataset import PhotoDataset, training_transform
from flowercli.training.device import keep_freed_memory
from flowercli.training.loop import fit
from flowercli.training.model import PixelClassifier, create_backbone, load_bundle_model, resolved_cfg
from flowercli.training.predict import predict
from flowercli.training.save import save_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from flowercli.data.manifest import Manifest
    from flowercli.inference.preprocess import PreprocessSpec
    from flowercli.training.config import TrainConfig
    from flowercli.training.loop import EpochReport, Fitted, Listener

# More photographs do not move the subspace.
NOVELTY_PHOTOS = 4000


@dataclass(frozen=True)
class TrainResult:
    """The bundle that a run wrote, and how it got there."""

    bundle: Bundle
    best_epoch: int
    history: list[EpochReport]


def train(config: TrainConfig, manifest: Manifest, listener: Listener) -> TrainResult:
    """Train a model on the photographs of a manifest and write its bundle.

    Everything that can be wrong is found before the first epoch; the bundle appears under its name only
    when it is whole.

    Raises:
        DataError: photographs of the manifest are missing, or a split is too small.
        WeightsError: the pretrained weights cannot be had.
        TrainingError: the loss is no longer a number.
    """
    _check_photos(config, manifest)
    keep_freed_memory()
    set_seed(config.seed)
    class_names = list(manifest.class_names)
    teachers = [_load_teacher(Path(path), class_names) for path in config.distill.teacher]
    backbone = create_backbone(config.model, len(class_names))
    cfg = resolved_cfg(backbone, config.model, len(class_names))
    model = PixelClassifier(backbone, cfg)
    train_batches, val_batches = make_loaders(config, manifest, model.spec)
    target = _run_folder(config)
    with new_folder(target) as folder:
        fitted = fit(config, model, teachers, train_batches, val_batches, listener)
        novelty = fit_novelty(config, manifest, fitted)
        save_bundle(folder, config, manifest, fitted, novelty, cfg)
    return TrainResult(Bundle.load(target), fitted.best_epoch, fitted.history)


def fit_novelty(config: TrainConfig, manifest: Manifest, fitted: Fitted) -> Novelty:
    """Learn where the embeddings of known flowers lie, from training photographs as they are classified."""
    photos = manifest.of_split("train")
    every = -(-len(photos) // NOVELTY_PHOTOS)
    plain = PhotoDataset(Path(config.data.path), photos[::every], manifest.class_names, fitted.model.spec)
    device = next(fitted.model.parameters()).device
    known = predict(fitted.model, DataLoader(plain, config.batch_size, num_workers=config.num_workers), device)
    return Novelty.fit(known.embeddings, fitted.val.embeddings[fitted.val.right], config.accept)


def make_loaders(
    config: TrainConfig, manifest: Manifest, spec: PreprocessSpec
) -> tuple[DataLoader[tuple[Tensor, Tensor]], DataLoader[tuple[Tensor, Tensor]]]:
    """Return the shuffled, randomly transformed training batches and the plain validation batches."""
    root, names = Path(config.data.path), manifest.class_names
    photos = manifest.of_split("train")
    if len(photos) < config.batch_size:
        message = f"The train split has {len(photos)} photographs, fewer than one batch of {config.batch_size}."
        raise DataError(message, hint=f"flowers train --batch-size {max(2, len(photos) // 2)} …")
    augment = training_transform(config.augment, spec)
    train_set = PhotoDataset(root, photos, names, spec, augment)
    val_set = PhotoDataset(root, manifest.of_split("val"), names, spec)
    generator = torch.Generator().manual_seed(config.seed)
    # A last batch of one would break batch normalisation; each epoch leaves out other photographs.
    train_batches = DataLoader(
        train_set,
        config.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        generator=generator,
    )
    return train_batches, DataLoader(val_set, config.batch_size)


def _check_photos(config: TrainConfig, manifest: Manifest) -> None:
    root = Path(config.data.path)
    missing = missing_photos(manifest, root, ["train", "val"])
    if missing:
        message = f"{len(missing)} photographs of the split manifest are no longer in {root} ({missing[0]}, …)."
        raise DataError(message, hint=f"Split what is there now: flowers split {root}")


def _load_teacher(path: Path, class_names: Sequence[str]) -> PixelClassifier:
    bundle = Bundle.load(path)
    if bundle.class_names != list(class_names):
        message = f"The teacher {path} knows {', '.join(bundle.class_names)}; the dataset has {', '.join(class_names)}."
        raise DataError(message, hint="A teacher must be trained on the same classes.")
    return load_bundle_model(bundle)


def _run_folder(config: TrainConfig) -> Path:
    started = dt.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    base = Path(config.output) / f"{started}-{config.model.name.partition('.')[0]}"
    candidates = [base, *(base.with_name(f"{base.name}-{number}") for number in range(2, 100))]
    return next(path for path in candidates if not path.exists())
