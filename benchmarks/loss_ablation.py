"""What each loss does for the accuracy and for the embedding: the same training, several seeds, real photographs.

python benchmarks/loss_ablation.py PHOTOS [KEY=VALUE ...]     for example model.weights=FOLDER

Trains on 70 % of the photographs and measures on the other 30 %, which nothing is chosen on: the weights are those
of the last epoch. Embedding quality: accuracy of the 5 nearest training photographs (cosine), Recall@1 and silhouette
among the photographs that were held back.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from measured import flowers
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from flowercli.bundle import Bundle
from flowercli.inference.preprocess import PreprocessSpec, load_pixels
from flowercli.training.bundle_data import BundleData, bundle_data

LOSSES = ("ce", "contrastive", "supcon", "triplet")
SEEDS = (1, 2, 3)
COLUMNS = ("accuracy", "kNN", "Recall@1", "silhouette")
RECIPE = (
    "model=tf_efficientnet_lite0", "augment.image_size=128", "model.image_size=160", "optim=adamw", "ema_decay=0.95",
    "validate_every=100", "patience=0", "data.ratios=[0.7,0.3,0.0]", "data.stratify=true", "tracking=none",
)  # fmt: skip
# Two-sided 95 % quantile of Student's t with two degrees of freedom, for three seeds.
T_95 = 4.303


def main() -> None:
    """Train every loss with every seed and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    rows: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        photos = shutil.copytree(arguments.photos, Path(temporary) / "photos", ignore=shutil.ignore_patterns("*.json"))
        for seed in SEEDS:
            for loss in LOSSES:
                options = (*RECIPE, f"loss={loss}", "--epochs", arguments.epochs, "--seed", seed, *arguments.overrides)
                command = flowers("train", "--data", photos, *options, "--output", Path(temporary) / "runs")
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rows.setdefault(loss, []).append(measure(Bundle.load(Path(done.stdout.strip()))))
                print(json.dumps({"loss": loss, "seed": seed} | dict(zip(COLUMNS, rows[loss][-1], strict=True))))
    print_table(rows)


def measure(bundle: Bundle) -> list[float]:
    """Return the figures of ``COLUMNS`` for one run."""
    data = bundle_data(bundle, None)
    (known, known_targets), (held, held_targets) = (embed(bundle, data, split) for split in ("train", "val"))
    nearest = KNeighborsClassifier(5, metric="cosine").fit(known, known_targets)
    neighbours = NearestNeighbors(n_neighbors=2, metric="cosine").fit(held).kneighbors(held, return_distance=False)
    return [
        float(bundle.section["metrics"]["val"]["torch"]["accuracy"]["value"]),
        float(nearest.score(held, held_targets)),
        float((held_targets[neighbours[:, 1]] == held_targets).mean()),
        float(silhouette_score(held, held_targets, metric="cosine")),
    ]


def embed(bundle: Bundle, data: BundleData, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings ``[N, D]`` and the class indices ``[N]`` of a split."""
    import torch

    from flowercli.training.model import load_bundle_model

    model, spec = load_bundle_model(bundle), PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    photos = data.photos(split)
    rows = []
    for start in range(0, len(photos), 16):
        pixels = np.stack([load_pixels(data.root / photo.path, spec) for photo in photos[start : start + 16]])
        with torch.inference_mode():
            rows.append(model(torch.from_numpy(pixels).permute(0, 3, 1, 2))[1].numpy())
    return np.concatenate(rows), np.array([bundle.class_names.index(photo.class_name) for photo in photos])


def print_table(rows: dict[str, list[list[float]]]) -> None:
    """Print the mean over the seeds, and of the difference from cross-entropy alone its 95 % interval."""
    print(f"\n| loss | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for loss, runs in rows.items():
        cells = []
        for column in range(len(COLUMNS)):
            values = [run[column] for run in runs]
            cell = f"{statistics.fmean(values):.4f}"
            if loss != LOSSES[0]:
                differences = [run[column] - base[column] for run, base in zip(runs, rows[LOSSES[0]], strict=True)]
                half = T_95 * statistics.stdev(differences) / math.sqrt(len(differences))
                cell += f" ({statistics.fmean(differences):+.4f} ± {half:.4f})"
            cells.append(cell)
        print(f"| `{loss}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
