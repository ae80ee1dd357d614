"""What a model that was just trained says of its validation photographs, for ``flowers drift`` to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.data.shards import photographs
from flowercli.inference.calibration import softmax
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import ordered_map
from flowercli.inference.preprocess import PreprocessSpec, load_picture
from flowercli.monitoring.features import Sample
from flowercli.monitoring.reference import Reference
from flowercli.monitoring.sampling import choose, put_into
from flowercli.training.model import known_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from flowercli.bundle import Bundle
    from flowercli.data.manifest import Manifest
    from flowercli.training.predict import Outputs

TORCH = "torch"


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
