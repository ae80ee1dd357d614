"""Copy what answers need of a trained bundle to where it is shipped from: ``python -m flowercli.training.ship``.

Torch weights and fp32 graph stay behind, and so does the path of the dataset on the machine of training.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowercli import bundle as bundles
from flowercli.bundle import CARD, EMBEDDINGS, MANIFEST, ONNX_INT8, REFERENCE, Bundle, without_local_paths
from flowercli.data.manifest import Manifest, entry_table
from flowercli.evaluation.card import model_card
from flowercli.models import FOLDER

# Of the models that ship; that of others is their owners' to say.
LICENSE = "mit"
TABLES = frozenset({"per_class", "confusion_matrix", "by_kind"})
# On which terms the photographs are that the shipped models learnt from.
TERMS = {
    "flower_photos": "TensorFlow's flower_photos, Creative Commons by attribution; its LICENSE.txt lists the authors.",
    "flowers17": "Oxford-17 (Nilsback and Zisserman, 2006), from the web; no licence stated, used for research.",
    "oxford102": "Oxford-102 (Nilsback and Zisserman, 2008), from the web; no licence stated, used for research.",
    "more_flowers": "photographs from Flickr; no licence stated.",
}
OUTLIERS = (
    "pictures without a flower of the list: fruit, packages, trees, trash and documents MIT; screens CC BY-SA; potato "
    "leaves CC BY-SA or CC0; textures, paintings, sketches, leaves, bark, animals, ImageNet samples and wild plants "
    "for research, or with no licence stated."
)
SHIPPED = (ONNX_INT8, CARD, MANIFEST, REFERENCE, EMBEDDINGS)


def ship(source: Path, target: Path, manifest: Manifest | None = None) -> Bundle:
    """Write the slim copy of a bundle into ``target``, replacing what is there.

    Args:
        source: the bundle.
        target: a folder.
        manifest: of the photographs that it is to be asked about, where these are others than those of its training.
    """
    bundle = Bundle.load(source)
    bundle.verify()
    said = bundle.section.get("data_terms") or terms(Manifest.read(bundle.file(MANIFEST)))
    section = {**without_local_paths(bundle.section), "data_terms": said}
    card = model_card({**bundle.config, "flowers": section}, license_id=LICENSE)
    measured = section["metrics"].items()
    metrics = {split: {"int8": _short(variants["int8"])} for split, variants in measured if "int8" in variants}
    config = {**bundle.config, "flowers": {**section, "metrics": metrics}}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".ship-") as temporary:
        # What its flowers are taught against is made by `flowers reference` alone.
        there = [name for name in SHIPPED if name != EMBEDDINGS or bundle.has(name)]
        files = {name: Path(shutil.copy(bundle.file(name), temporary)) for name in there}
        files[CARD].write_text(card, encoding="utf-8")
        if manifest is not None:
            manifest.write(files[MANIFEST])
        shutil.rmtree(target, ignore_errors=True)
        return bundles.create(target, config, files)


def manifest_to_ask_about(photos: Path, outliers: Path | None) -> Manifest:
    """Return the split of one manifest with those outliers of another that were not for training."""
    manifest = Manifest.read(photos)
    if outliers is None:
        return manifest
    return replace(
        manifest, outliers=entry_table(one for one in Manifest.read(outliers).outliers if one.split != "train")
    )


def terms(manifest: Manifest) -> dict[str, str]:
    """Return the terms of each source of the photographs in a manifest, and of the outliers if there are any."""
    sources = {photo.source for photo in manifest.photos}
    found = {name: text for name, text in TERMS.items() if name in sources}
    return found | ({"outliers": OUTLIERS} if manifest.outliers else {})


def _short(metrics: Any) -> Any:
    """Return the metrics of what is shipped without the tables that its card has: each answer reads the description."""
    if not isinstance(metrics, dict):
        return metrics
    return {key: _short(value) for key, value in metrics.items() if key not in TABLES}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("name", help="the model's name, which is its folder in flowercli/models, or a path")
    parser.add_argument("--manifest", type=Path, help="that of other photographs than those of its training")
    parser.add_argument("--outliers-of", type=Path, help="with --manifest: the one whose outliers it is asked about")
    arguments = parser.parse_args()
    asked = arguments.manifest and manifest_to_ask_about(arguments.manifest, arguments.outliers_of)
    ship(arguments.bundle, FOLDER / arguments.name, asked)
