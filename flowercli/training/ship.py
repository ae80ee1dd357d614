"""Copy what answers need of a trained bundle to where it is shipped from: ``python -m flowercli.training.ship``.

Torch weights and fp32 graph stay behind, and so does the path of the dataset on the machine of training.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from flowercli import bundle as bundles
from flowercli.bundle import CARD, MANIFEST, ONNX_INT8, REFERENCE, Bundle, without_local_paths
from flowercli.data.manifest import Manifest
from flowercli.models import FOLDER
from flowercli.training.card import model_card
from flowercli.training.data_terms import terms

# Of the models that ship; that of others is their owners' to say.
LICENSE = "mit"
TABLES = frozenset({"per_class", "confusion_matrix"})
SHIPPED = (ONNX_INT8, CARD, MANIFEST, REFERENCE)


def ship(source: Path, target: Path, manifest: Path | None = None) -> Bundle:
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
    config = {**bundle.config, "flowers": {**section, "metrics": _short(section["metrics"])}}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".ship-") as temporary:
        files = {name: Path(shutil.copy(bundle.file(name), temporary)) for name in SHIPPED}
        files[CARD].write_text(card, encoding="utf-8")
        if manifest is not None:
            shutil.copy(manifest, files[MANIFEST])
        shutil.rmtree(target, ignore_errors=True)
        return bundles.create(target, config, files)


def _short(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of what is shipped without the tables that its card has: each answer reads the description."""
    return {
        split: {"int8": {key: value for key, value in variants["int8"].items() if key not in TABLES}}
        for split, variants in metrics.items()
        if "int8" in variants
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("name", help="the model's name, which is its folder in flowercli/models, or a path")
    parser.add_argument("--manifest", type=Path, help="that of other photographs than those of its training")
    arguments = parser.parse_args()
    ship(arguments.bundle, FOLDER / arguments.name, arguments.manifest)
