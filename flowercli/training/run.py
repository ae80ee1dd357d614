"""One training run: from a configuration, or from where an unfinished one stopped, to a bundle ``runs/TIME-MODEL``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from flowercli.atomic import new_folder
from flowercli.bundle import Bundle
from flowercli.data.changes import split_command
from flowercli.errors import DataError, TrainingError, TrainingInterrupted, UnreadablePhotoError
from flowercli.shown import counted
from flowercli.training.architecture import try_out
from flowercli.training.data_workers import is_lost_worker
from flowercli.training.interrupt import stop_request
from flowercli.training.known import Known
from flowercli.training.loop import Progress, fit, save_start
from flowercli.training.model import (
    PixelClassifier,
    create_backbone,
    downloaded_weights,
    load_bundle_model,
    resolved_cfg,
    trained_before,
)
from flowercli.training.predict import Outputs, predict_outliers, predict_photos
from flowercli.training.process_group import ALONE, LostProcess, ProcessGroup
from flowercli.training.randomness import seed_all
from flowercli.training.run_data import check_photos, outliers_root
from flowercli.training.run_folder import BEST, LAST, RunFolder
from flowercli.training.save import Fitted, add_validation, save_bundle
from flowercli.training.setup import Setup
from flowercli.training.typical import Typical, representative
from flowercli.training.weights import repository

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.training.learner import Learner
    from flowercli.training.listeners import Listener
    from flowercli.training.schema import ModelConfig, TrainConfig


@dataclass(frozen=True)
class TrainResult:
    """The bundle that a run wrote, and how it got there."""

    bundle: Bundle
    best_epoch: int
    history: list[dict[str, Any]]


def train(config: TrainConfig, manifest: Manifest, listener: Listener, group: ProcessGroup = ALONE) -> TrainResult:
    """Train a model on the photographs of a manifest and write its bundle.

    Everything that can be wrong is found before the first epoch; the bundle appears under its name only
    when it is whole. Of several processes the first calls this, the others :func:`flowercli.training.members.join`.

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
    setup = Setup.make(config, manifest, model, listener, group)
    return _finish(RunFolder.create(config, manifest, cfg), setup, listener)


def resume(run: RunFolder, listener: Listener, group: ProcessGroup = ALONE) -> TrainResult:
    """Go on with an unfinished run from its last checkpoint, as if it had never stopped.

    Raises:
        As ``train``, and TrainingError: the checkpoint is damaged.
    """
    if changed := run.changed_versions():
        listener.say(f"Other versions than at the start, so the result may differ: {', '.join(changed)}.")
    if run.target.exists():  # Killed after the last moment that mattered.
        group.from_first(None)
        run.discard()
        return _result(Bundle.load(run.target))
    run.check_places()
    listener.phase("Checking the photographs")
    check_photos(run.config, run.manifest, listener.say, resumed=True)
    return _finish(run, Setup.of_run(run, listener, group), listener)


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
    group = setup.learner.group
    listener.started(run.target.name, run.identity)
    for line in outline(run, setup.learner):
        listener.say(line)
    listener.phase("First step")
    with _telling_how_to_go_on(run, group), stop_request() as stop:
        if group.size > 1:
            save_start(setup.learner, run)
            group.from_first(run)
            group.together(lambda: None)  # What the others need may be missing there.
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
def _telling_how_to_go_on(run: RunFolder, group: ProcessGroup) -> Iterator[None]:
    resume = group.typed(run.how_to_go_on)
    try:
        yield
    except KeyboardInterrupt as error:
        raise TrainingInterrupted("Interrupted. Everything is saved.", hint=f"Go on with: {resume}") from error
    except LostProcess as error:
        raise LostProcess(error.message, hint=f"Go on with: {resume}") from error
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


def outline(run: RunFolder, learner: Learner) -> list[str]:
    """Return a line each about the network, the device, and the folder."""
    config, model = run.config, learner.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    resumed = (run.path / LAST).is_file()
    weights = f"those of the checkpoint {run.path / LAST}" if resumed else weights_from(config.model)
    group, sizes = learner.group, learner.share.sizes
    here = "" if group.local_size == group.size else f", {group.local_size} of them on this machine"
    together = f"Processes: {group.size}{here}; a batch is {len(sizes)} parts of at most {max(sizes)} photographs"
    return [
        f"Model: {config.model.name}, {parameters / 1e6:.1f} million parameters; weights: {weights}",
        f"Device: {device(learner)}; {learner.steps_per_epoch} steps an epoch, of {config.batch_size} photographs",
        *([together] if group.size > 1 else []),
        f"Run: {run.path} until it is done",
    ]


def weights_from(config: ModelConfig) -> str:
    """Say where the weights that a new run starts from come from."""
    if config.weights is not None:
        return str(Path(config.weights).expanduser())
    if config.pretrained and (there := downloaded_weights(config.name)) is not None:
        return str(there.parent)
    repo_id = repository(config.name) if config.pretrained else None
    return "random" if repo_id is None else f"{repo_id} from the Hugging Face Hub"


def device(learner: Learner) -> str:
    """Say what computes, and in which precision."""
    kind, precision = learner.device.type, learner.accelerator.mixed_precision
    computes = counted(torch.get_num_threads(), "thread")
    what = torch.cuda.get_device_name(learner.device) if kind == "cuda" else computes
    return f"{kind} ({what}), {'fp32' if precision == 'no' else precision}"
