"""What each loss does for the accuracy and for the embedding: the same training, several seeds, real photographs.

python benchmarks/loss_ablation.py PHOTOS [--count 1200] [KEY=VALUE ...]     for example model.weights=FOLDER

Takes the first photographs of each class, ``--count`` in all, trains on 70 % of them and measures on the other 30 %,
which nothing is chosen on: the weights are those of the last epoch. Embedding quality: accuracy of the 5 nearest
training photographs (cosine), Recall@1 and silhouette among the photographs that were held back.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import tempfile
from pathlib import Path

from measured import flowers
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from train_speed import copy_photos

from flowercli.bundle import Bundle
from flowercli.evaluation.answers import ask
from flowercli.evaluation.bundle_data import bundle_data

LOSSES = ("ce", "contrastive", "supcon", "triplet")
SEEDS = (1, 2, 3)
COLUMNS = ("accuracy", "kNN", "Recall@1", "silhouette")
RECIPE = (
    "model=tf_efficientnet_lite0", "augment.image_size=128", "model.image_size=160", "optim=adamw", "ema_decay=0.95",
    "validate_every=100", "patience=0", "data.ratios=[0.7,0.3,0.0]", "data.stratify=true", "tracking=none",
    "plots=false",
)  # fmt: skip
# Two-sided 95 % quantile of Student's t with two degrees of freedom, for three seeds.
T_95 = 4.303


def main() -> None:
    """Train every loss with every seed and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--count", type=int, default=1200)
    arguments = parser.parse_intermixed_args()
    rows: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        copy_photos(arguments.photos.resolve(), Path(temporary), arguments.count)
        photos = Path(temporary) / "train"
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
    answers = [ask(bundle, "torch", data.root, data.photos(split)) for split in ("train", "val")]
    (known, known_targets), (held, held_targets) = ((answer.embeddings, answer.targets) for answer in answers)
    nearest = KNeighborsClassifier(5, metric="cosine").fit(known, known_targets)
    neighbours = NearestNeighbors(n_neighbors=2, metric="cosine").fit(held).kneighbors(held, return_distance=False)
    return [
        float(bundle.section["metrics"]["val"]["torch"]["accuracy"]["value"]),
        float(nearest.score(held, held_targets)),
        float((held_targets[neighbours[:, 1]] == held_targets).mean()),
        float(silhouette_score(held, held_targets, metric="cosine")),
    ]


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
