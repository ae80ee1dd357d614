"""A model that can be taught: a copy of the one of five flowers, with what it sees of parts of the samples."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from conftest import FLOWERS, SAMPLES, write_picture
from PIL import Image

from flowercli.bundle import CONFIG, EMBEDDINGS, MANIFEST, Bundle, add_files
from flowercli.data.manifest import Entry, Manifest, entry_table
from flowercli.models import load_model

# Photographs of each flower, and pictures without one.
OF_EACH, OTHERS = 8, 6
NEW = {"blue_thing": (30, 60, 220), "yellow_thing": (220, 200, 20)}


def teachable(folder: Path) -> tuple[Bundle, Path, Path]:
    """Return a bundle that knows where none of its photographs are, its dataset, and its outliers."""
    data, outliers = folder / "data", folder / "outliers"
    generator = np.random.default_rng(0)
    photos, others = entry_table(), entry_table()
    for name in FLOWERS:
        for number in range(OF_EACH):
            path = data / name / f"{number}.png"
            _write_part(SAMPLES / f"{name}.jpg", path, generator)
            photos.append(Entry(f"{name}/{number}.png", name, "val", _sha256(path)))
    for number in range(OTHERS):
        path = outliers / "grey" / f"{number}.jpg"
        write_picture(path, (120, 120, 120), 500 + number)
        others.append(Entry(f"grey/{number}.jpg", "grey", "val", _sha256(path)))
    how = {"seed": 0, "ratios": (0.8, 0.1, 0.1), "stratified": False, "near_duplicates_checked": False}
    manifest = Manifest(**how, class_names=FLOWERS, photos=photos, outliers=others)
    bundle = _without_embeddings(shutil.copytree(load_model("flowers5").path, folder / "flowers5"))
    manifest.write(folder / MANIFEST)
    return add_files(bundle, {MANIFEST: folder / MANIFEST}), data, outliers


def _without_embeddings(folder: Path) -> Bundle:
    """Be a bundle that was made before there were any."""
    (folder / EMBEDDINGS).unlink()
    description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    del description["flowers"]["files"][EMBEDDINGS]
    (folder / CONFIG).write_text(json.dumps(description), encoding="utf-8")
    return Bundle.load(folder)


def write_new(folder: Path, count: int = 6, first: int = 0) -> Path:
    """Write pictures of what no model was trained on, a subfolder a kind."""
    for name, colour in NEW.items():
        for number in range(first, first + count):
            write_picture(folder / name / f"{number}.jpg", colour, sum(colour) + number)
    return folder


def _write_part(source: Path, target: Path, generator: np.random.Generator) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        left, top = (generator.uniform(0, 0.2, 2) * image.size).astype(int)
        image.crop((left, top, *(generator.uniform(0.8, 1, 2) * image.size).astype(int))).resize((260, 240)).save(
            target
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
