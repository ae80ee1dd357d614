"""What a run needs in memory: a learner, and the data loaders of this process's share of the photographs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from flowercli.allocator import keep_freed_memory
from flowercli.errors import DataError
from flowercli.models import load_model
from flowercli.training.data_workers import (
    MORE_OF_IT,
    SHARED_MEMORY,
    shared_memory_left,
    workers_to_start,
    workers_with_room,
)
from flowercli.training.dataset import AugmentedPhotos, PhotoDataset, training_transform
from flowercli.training.device import make_repeatable
from flowercli.training.learner import Learner
from flowercli.training.loading import PhotoLoader
from flowercli.training.model import PixelClassifier, create_backbone, load_bundle_model
from flowercli.training.parts import Share, require_parts
from flowercli.training.run_data import outliers_root
from flowercli.training.sampler import EpochSampler

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.training.listeners import Listener
    from flowercli.training.process_group import ProcessGroup
    from flowercli.training.run_folder import RunFolder
    from flowercli.training.schema import TrainConfig


@dataclass(frozen=True)
class Setup:
    """The learner, and what it learns from."""

    learner: Learner
    train: PhotoLoader
    sampler: EpochSampler
    val: PhotoLoader

    @classmethod
    def make(
        cls,
        config: TrainConfig,
        manifest: Manifest,
        model: PixelClassifier,
        listener: Listener,
        group: ProcessGroup,
    ) -> Self:
        """Build the learner, and the data loaders of this process's share of the photographs.

        Raises:
            UsageError: there are more processes than a batch has parts.
        """
        require_parts(config, group.size)
        keep_freed_memory()
        make_repeatable()
        teachers = [_load_teacher(path, manifest) for path in config.distill.teacher]
        photos = _photos(config, manifest, "train", model)
        counts = list(manifest.counts("train").values())
        if manifest.outliers:
            outliers = manifest.outliers_of("train")
            photos = photos.and_outliers(outliers_root(config), outliers, len(counts))
            counts.append(len(outliers))
        positions = Share.of(config, group.rank, group.size).positions
        sampler = EpochSampler(photos.targets, config.batch_size, config.seed, config.data.sampler, positions)
        augmented = AugmentedPhotos(photos, training_transform(config.augment, model.spec))
        workers = _workers(config, len(positions) * group.local_size, model, listener)
        train = PhotoLoader(
            augmented, len(positions), workers=workers, sampler=sampler, keep_workers=True, say=listener.say
        )
        learner = Learner(config, model, teachers, counts, sampler.steps, listener.say, group)
        val = _photos(config, manifest, "val", model)
        val = PhotoDataset(val.sources[group.rank :: group.size], val.targets[group.rank :: group.size], val.spec)
        return cls(learner, train, sampler, PhotoLoader(val, config.batch_size))

    @classmethod
    def of_run(cls, run: RunFolder, listener: Listener, group: ProcessGroup) -> Self:
        """Build them for a run whose checkpoint holds the weights: the pretrained ones are not needed again."""
        blank = replace(run.config.model, pretrained=False, weights=None)
        backbone = create_backbone(blank, len(run.manifest.class_names))
        model = PixelClassifier(backbone, run.pretrained_cfg, refuses=bool(run.manifest.outliers))
        return cls.make(run.config, run.manifest, model, listener, group)


def _workers(config: TrainConfig, photos: int, model: PixelClassifier, listener: Listener) -> int:
    """Return how many processes decode, as many as the shared memory holds batches of so many photographs of."""
    wanted = workers_to_start(config.num_workers)
    height, width = model.input_size if config.augment.image_size is None else (config.augment.image_size,) * 2
    workers = workers_with_room(wanted, photos * 3 * height * width)
    if workers < wanted:
        left = f"{SHARED_MEMORY} has {shared_memory_left() // 2**20} MiB left"
        listener.say(f"{left}: {workers} processes decode, not {wanted}. {MORE_OF_IT}")
    return workers


def _photos(config: TrainConfig, manifest: Manifest, split: str, model: PixelClassifier) -> PhotoDataset:
    photos = manifest.of_split(split)
    if split == "train" and len(photos) < config.batch_size:
        message = f"The train split has {len(photos)} photographs, fewer than one batch of {config.batch_size}."
        raise DataError(message, hint=f"flowers train --batch-size {max(2, len(photos) // 2)} …")
    return PhotoDataset.of(Path(config.data.path), photos, manifest.class_names, model.spec)


def _load_teacher(name: str, manifest: Manifest) -> PixelClassifier:
    bundle, class_names = load_model(name), manifest.class_names
    if unknown := [each for each in class_names if each not in bundle.class_names]:
        message = f"The teacher {name} does not know {', '.join(unknown)}; it knows {', '.join(bundle.class_names)}."
        raise DataError(message, hint="A teacher must be trained on the dataset's classes; it may know others too.")
    teacher = load_bundle_model(bundle)
    if manifest.outliers and teacher.none is None:
        message = f"The teacher {name} was trained without outliers: it has no answer for them."
        raise DataError(message, hint="Train it with the same: flowers train --outliers DIR …")
    if not manifest.outliers:
        teacher.none = None
    teacher.keep_classes([bundle.class_names.index(each) for each in class_names])
    return teacher
