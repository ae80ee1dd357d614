"""One training run: from a configuration, or from where an unfinished one stopped, to a bundle ``runs/TIME-MODEL``."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from flowercli.allocator import keep_freed_memory
from flowercli.atomic import new_folder
from flowercli.bundle import Bundle
from flowercli.data.changes import split_command
from flowercli.errors import DataError, TrainingError, TrainingInterrupted, UnreadablePhotoError
from flowercli.models import load_model
from flowercli.training.architecture import try_out
from flowercli.training.data_workers import (
    MORE_OF_IT,
    SHARED_MEMORY,
    is_lost_worker,
    shared_memory_left,
    workers_to_start,
    workers_with_room,
)
from flowercli.training.dataset import AugmentedPhotos, PhotoDataset, training_transform
from flowercli.training.device import make_repeatable
from flowercli.training.drift_reference import add_validation
from flowercli.training.interrupt import stop_request
from flowercli.training.known import Known
from flowercli.training.learner import Learner
from flowercli.training.loading import PhotoLoader
from flowercli.training.loop import fit
from flowercli.training.model import PixelClassifier, create_backbone, load_bundle_model, resolved_cfg, trained_before
from flowercli.training.outline import outline
from flowercli.training.predict import Outputs, predict_outliers, predict_photos
from flowercli.training.randomness import seed_all
from flowercli.training.run_data import check_photos, outliers_root
from flowercli.training.run_folder import BEST, RunFolder
from flowercli.training.sampler import EpochSampler
from flowercli.training.save import Fitted, save_bundle
from flowercli.training.typical import Typical, representative

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowercli.data.manifest import Manifest
    from flowercli.training.loop import Listener, Progress
    from flowercli.training.schema import TrainConfig


@dataclass(frozen=True)
class TrainResult:
    """The bundle that a run wrote, and how it got there."""

    bundle: Bundle
    best_epoch: int
    history: list[dict[str, Any]]


def train(config: TrainConfig, manifest: Manifest, listener: Listener) -> TrainResult:
    """Train a model on the photographs of a manifest and write its bundle.

    Everything that can be wrong is found before the first epoch; the bundle appears under its name only
    when it is whole.

    Raises:
        DataError: photographs of the manifest are missing or cannot be read, or a split is too small.
        ConfigError: the architecture does not take what is wanted of it.
        WeightsError: the pretrained weights cannot be had.
        TrainingError: the loss is no longer a number, the memory is too small, the disk full, or a data worker killed.
        TrainingInterrupted: the run was asked to stop, and can be resumed.
    """
    listener.phase("Checking the photographs")
    check_photos(config, manifest, listener.say)
    listener.phase(f"Loading {config.model.name}")
    model, cfg = _new_model(config, manifest)
    setup = Setup.make(config, manifest, model, listener)
    return _finish(RunFolder.create(config, manifest, cfg), setup, listener)


def resume(run: RunFolder, listener: Listener) -> TrainResult:
    """Go on with an unfinished run from its last checkpoint, as if it had never stopped.

    Raises:
        As ``train``, and TrainingError: the checkpoint is damaged.
    """
    if changed := run.changed_versions():
        listener.say(f"Other versions than at the start, so the result may differ: {', '.join(changed)}.")
    if run.target.exists():  # Killed after the last moment that mattered.
        run.discard()
        return _result(Bundle.load(run.target))
    run.check_places()
    listener.phase("Checking the photographs")
    check_photos(run.config, run.manifest, listener.say, resumed=True)
    # The checkpoint holds the weights; the pretrained ones are not needed again.
    blank = replace(run.config, model=replace(run.config.model, pretrained=False, weights=None))
    backbone = create_backbone(blank.model, len(run.manifest.class_names))
    model = PixelClassifier(backbone, run.pretrained_cfg, refuses=bool(run.manifest.outliers))
    return _finish(run, Setup.make(run.config, run.manifest, model, listener), listener)


@dataclass(frozen=True)
class Setup:
    """What a run needs in memory."""

    learner: Learner
    train: PhotoLoader
    sampler: EpochSampler
    val: PhotoLoader

    @classmethod
    def make(cls, config: TrainConfig, manifest: Manifest, model: PixelClassifier, listener: Listener) -> Setup:
        """Build the data loaders and the learner."""
        keep_freed_memory()
        make_repeatable()
        teachers = [_load_teacher(path, manifest) for path in config.distill.teacher]
        photos = _photos(config, manifest, "train", model)
        counts = list(manifest.counts("train").values())
        if manifest.outliers:
            outliers = manifest.outliers_of("train")
            photos = photos.and_outliers(outliers_root(config), outliers, len(counts))
            counts.append(len(outliers))
        sampler = EpochSampler(photos.targets, config.batch_size, config.seed, config.data.sampler)
        augmented = AugmentedPhotos(photos, training_transform(config.augment, model.spec))
        workers = _workers(config, model, listener)
        train = PhotoLoader(
            augmented, config.batch_size, workers=workers, sampler=sampler, keep_workers=True, say=listener.say
        )
        learner = Learner(config, model, teachers, counts, sampler.steps, listener.say)
        return cls(learner, train, sampler, PhotoLoader(_photos(config, manifest, "val", model), config.batch_size))


def _workers(config: TrainConfig, model: PixelClassifier, listener: Listener) -> int:
    """Return how many processes decode, as many as the shared memory holds batches of."""
    wanted = workers_to_start(config.num_workers)
    height, width = model.input_size if config.augment.image_size is None else (config.augment.image_size,) * 2
    workers = workers_with_room(wanted, config.batch_size * 3 * height * width)
    if workers < wanted:
        left = f"{SHARED_MEMORY} has {shared_memory_left() // 2**20} MiB left"
        listener.say(f"{left}: {workers} processes decode, not {wanted}. {MORE_OF_IT}")
    return workers


def _new_model(config: TrainConfig, manifest: Manifest) -> tuple[PixelClassifier, dict[str, Any]]:
    seed_all(config.seed)
    backbone = create_backbone(config.model, len(manifest.class_names))
    cfg = resolved_cfg(backbone, config.model, len(manifest.class_names))
    model = PixelClassifier(backbone, cfg, refuses=bool(manifest.outliers))
    try_out(model, config)
    if (earlier := trained_before(config.model)) is not None:
        model.take_over(load_bundle_model(earlier), earlier.class_names, list(manifest.class_names))
    return model, cfg


def _finish(run: RunFolder, setup: Setup, listener: Listener) -> TrainResult:
    listener.started(run.target.name, run.identity)
    for line in outline(run, setup.learner):
        listener.say(line)
    listener.phase("First step")
    with _telling_how_to_go_on(run), stop_request() as stop:
        progress = fit(setup.learner, setup.train, setup.sampler, setup.val, run, stop, listener)
        stop.stop_at_once_from_here()
        fitted = _best(run, setup, progress)
        listener.phase("Learning when to refuse")
        known = fit_known(run.config, run.manifest, fitted)
        listener.phase("Calibrating, and writing the bundle")
        with new_folder(run.target) as folder:
            bundle = save_bundle(folder, run, fitted, known)
            add_validation(bundle, Path(run.config.data.path), run.manifest, fitted.val)
    run.discard()
    return _result(Bundle.load(run.target))


@contextmanager
def _telling_how_to_go_on(run: RunFolder) -> Iterator[None]:
    resume = run.how_to_go_on
    try:
        yield
    except KeyboardInterrupt as error:
        raise TrainingInterrupted("Interrupted. Everything is saved.", hint=f"Go on with: {resume}") from error
    except UnreadablePhotoError as error:
        data = run.config.data
        others = None if data.outliers is None else Path(data.outliers)
        anew = split_command(Path(data.path), run.manifest, others, data.manifest)
        hint = f"Put it back as it was, then: {resume}\nOr start anew without it: {anew}, then flowers train …"
        raise DataError(error.message, hint=hint) from error
    except (OSError, SafetensorError) as error:
        message = f"The run could not be written: {getattr(error, 'strerror', None) or error}."
        raise TrainingError(message, hint=f"Free some space, then: {resume}") from error
    except RuntimeError as error:
        if not is_lost_worker(error):
            raise
        message = (
            "A process that decodes photographs was killed: most likely memory, or a container's /dev/shm, ran out."
        )
        raise TrainingError(message, hint=f"Go on without such processes: {resume} num_workers=0") from error


def _result(bundle: Bundle) -> TrainResult:
    return TrainResult(bundle, bundle.section["provenance"]["best_epoch"], bundle.section["history"])


def _best(run: RunFolder, setup: Setup, progress: Progress) -> Fitted:
    model = setup.learner.model
    with run.telling_damage(BEST):
        best = run.load(BEST)
        if best is None:  # The last epoch is always validated, and patience counts validations.
            raise FileNotFoundError("it is not there")
        model.load_state_dict(best["model"])
        val = Outputs(**{name: tensor.numpy() for name, tensor in best["val"].items()})
        return Fitted(model, best["epoch"], val, progress.history)


def fit_known(config: TrainConfig, manifest: Manifest, fitted: Fitted) -> Known:
    """Learn from photographs of all classes, and from outliers, how sure the model is that it knows."""
    model = fitted.model
    outliers = manifest.outliers_of("val")
    others = predict_outliers(model, outliers_root(config), outliers).answers if outliers else None
    photos = representative(manifest.of_split("train"))
    seen = predict_photos(model, Path(config.data.path), photos, manifest.class_names)
    return Known.fit(model.none_logit, fitted.val.answers, others, Typical.fit(seen.logits, seen.targets))


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
