"""Write a trained model as a bundle: weights, description, manifest, model card."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save_file
from torch import Tensor, contiguous_format

from flowercli import __version__, bundle
from flowercli.atomic import write_text
from flowercli.bundle import CARD, WEIGHTS, Bundle
from flowercli.data.class_names import scientific_name
from flowercli.data.shards import photographs
from flowercli.data.split import SPLITS
from flowercli.evaluation.card import model_card
from flowercli.evaluation.metrics import evaluate
from flowercli.inference.calibration import fit_temperature, rejection_threshold, softmax
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import ordered_map
from flowercli.inference.preprocess import PreprocessSpec, load_picture
from flowercli.monitoring.features import Sample
from flowercli.monitoring.reference import Reference, choose, put_into
from flowercli.training.config import as_dict
from flowercli.training.listeners import EPOCHS, epochs_table
from flowercli.training.model import PixelClassifier, known_of
from flowercli.training.run_folder import RunFolder, versions

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.training.known import Known
    from flowercli.training.predict import Outputs


TORCH = "torch"


@dataclass(frozen=True)
class Fitted:
    """The model that was best on validation, its outputs there, and the history of all epochs."""

    model: PixelClassifier
    best_epoch: int
    val: Outputs
    history: list[dict[str, Any]]


def save_bundle(folder: Path, run: RunFolder, fitted: Fitted, known: Known) -> Bundle:
    """Write the bundle of a finished run into ``folder``, and the table of its epochs."""
    description = describe_run(run, fitted, known)
    write_text(folder / EPOCHS, epochs_table(fitted.history))
    return write_bundle(folder, description, fitted.model.backbone.state_dict(), run.manifest)


def write_bundle(folder: Path, description: dict[str, Any], state: Mapping[str, Tensor], manifest: Manifest) -> Bundle:
    """Write weights, manifest and model card with their description into ``folder``."""
    staged = {name: folder / f".{name}" for name in (WEIGHTS, manifest.name_in_bundle, CARD)}
    save_file(without_ties(state), staged[WEIGHTS], metadata={"format": "pt"})
    manifest.write_to(staged[manifest.name_in_bundle])
    staged[CARD].write_text(model_card(description), encoding="utf-8")
    return bundle.create(folder, description, staged)


def without_ties(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors each in memory of its own: some architectures use one under two names, which no file may."""
    return {name: tensor.cpu().clone(memory_format=contiguous_format) for name, tensor in state.items()}


def describe_run(run: RunFolder, fitted: Fitted, known: Known) -> dict[str, Any]:
    """Return the ``config.json`` of the bundle."""
    config, names = run.config, list(run.manifest.class_names)
    return {
        "architecture": config.model.name.partition(".")[0],
        "num_classes": len(names),
        "num_features": fitted.model.embedding_size,
        "label_names": names,
        "pretrained_cfg": run.pretrained_cfg,
        "flowers": {
            **calibrated(fitted.val, known, names, config.accept),
            "scientific_names": [scientific_name(name) for name in names],
            "embedding_size": fitted.model.embedding_size,
            "history": fitted.history,
            "provenance": provenance(run, fitted),
        },
    }


def calibrated(val: Outputs, known: Known, class_names: Sequence[str], accept: float) -> dict[str, Any]:
    """Return what the outputs on the validation split decide: temperature, rejection threshold and metrics."""
    temperature = fit_temperature(val.logits, val.targets)
    probabilities = softmax(val.logits / temperature)
    return {
        "temperature": temperature,
        "known": known.to_json(),
        "rejection_threshold": rejection_threshold(known(*val.answers), accept),
        "metrics": {"val": {"torch": evaluate(probabilities, val.targets, class_names)}},
    }


def provenance(run: RunFolder, fitted: Fitted) -> dict[str, Any]:
    """Return where the model comes from: run, data, split, configuration, versions, code."""
    config, manifest = run.config, run.manifest
    return {
        "run": run.identity,
        "data_path": str(Path(config.data.path).resolve()),
        "dataset_sha256": manifest.dataset_sha256,
        "manifest_sha256": manifest.sha256,
        "photos": {split: sum(manifest.counts(split).values()) for split in SPLITS},
        "outlier_photos": {split: len(manifest.outliers_of(split)) for split in SPLITS},
        "outliers_path": None if config.data.outliers is None else str(Path(config.data.outliers).resolve()),
        "epochs_trained": fitted.history[-1]["epoch"],
        "best_epoch": fitted.best_epoch,
        "config": as_dict(config),
        "versions": versions() | {"flowercli": __version__, "python": platform.python_version()},
        "git_revision": git_revision(),
    }


def git_revision() -> str | None:
    """Return the revision of the source checkout that this code runs from, or ``None`` outside of one."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def add_validation(bundle: Bundle, root: Path, manifest: Manifest, val: Outputs) -> Bundle:
    """Add the reference to a new bundle; exports that answer in its place replace it.

    Args:
        bundle: a folder with temperature and what tells how sure the model is that it knows a flower.
        root: the dataset.
        manifest: its split.
        val: the model's outputs for all photographs of validation, in the manifest's order.
    """
    place = {photo.path: position for position, photo in enumerate(manifest.of_split("val"))}
    photos = choose(manifest)
    chosen = [place[photo.path] for photo in photos]
    logits = val.logits[chosen]
    probabilities = softmax(logits / bundle.temperature)
    columns = {
        "class_index": probabilities.argmax(axis=1),
        "confidence": probabilities.max(axis=1),
        "known": known_of(bundle)(logits, val.embeddings[chosen]),
    }
    pictures = _pictures(photographs(root, photos), bundle)
    return put_into(bundle, Reference(Sample.of({**columns, **pictures}), TORCH))


def _pictures(sources: Sequence[Any], bundle: Bundle) -> dict[str, npt.NDArray[np.float64]]:
    """Return brightness, width and height of each photograph."""
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)

    def look(source: Any) -> tuple[float, int, int]:
        picture = load_picture(source, spec)
        return picture.brightness, picture.width, picture.height

    rows = np.array(list(ordered_map(look, sources, available_cores())))
    return dict(zip(("brightness", "width", "height"), rows.T, strict=True))
