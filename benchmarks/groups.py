"""What `flowers classify --group` gains: one answer for 1, 2, 3 and 5 photographs of one flower.

python benchmarks/groups.py DATA OUTLIERS [--model garden] [--draws 4000]

DATA and OUTLIERS are the merged dataset and the outliers that the model was made from; asked about are the photographs
that it was not trained on. Of what plant a photograph is, nobody wrote down: groups are drawn from those of one flower,
which differ more than those of one plant; and, as in a series of one plant, neighbours by their number in Oxford-102.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flowercli.data.manifest import Entry, Manifest
from flowercli.evaluation.metrics import evaluate
from flowercli.inference.classifier import Classifier
from flowercli.inference.cpu import available_cores
from flowercli.inference.groups import by_folder, grouped
from flowercli.inference.pipeline import Result, classify_stream
from flowercli.models import load_model

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (1, 2, 3, 5)
NUMBER = re.compile(r"image_(\d+)")
# Apart by their numbers.
NEIGHBOURS = 2


class Shown(NamedTuple):
    """A photograph, and what the model says of it."""

    entry: Entry
    result: Result


def main() -> None:
    """Print a line for each size of group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("outliers", type=Path)
    parser.add_argument("--model", default="garden")
    parser.add_argument("--draws", type=int, default=4000)
    arguments = parser.parse_args()
    bundle = load_model(arguments.model)
    classifier = Classifier.open(bundle, "cpu")
    manifest = Manifest.read(bundle.file("split.json"))
    flowers = ask(classifier, arguments.data, manifest.of_split("test"))
    others = ask(classifier, arguments.outliers, manifest.outliers_of("test"))
    draw = random.Random(0)
    for size in SIZES:
        groups = drawn(flowers, size, arguments.draws, draw)
        report(f"{size} of one flower", classifier, groups, drawn(others, size, arguments.draws, draw))
    pairs = neighbours([*flowers, *ask(classifier, arguments.data, manifest.of_split("val"))])
    report(f"{len(pairs)} pairs of neighbours, the first alone", classifier, [pair[:1] for pair in pairs], [])
    report("the same, both", classifier, pairs, [])


def ask(classifier: Classifier, root: Path, photos: Sequence[Entry]) -> list[Shown]:
    """Ask about photographs."""
    paths = [str(root / photo.path) for photo in photos]
    results = classify_stream(classifier, paths, workers=available_cores(), top_k=0)
    return [Shown(*pair) for pair in zip(photos, results, strict=True)]


def drawn(shown: Sequence[Shown], size: int, count: int, draw: random.Random) -> list[list[Shown]]:
    """Draw groups of one class or kind, as often as there are photographs of it."""
    members = defaultdict(list)
    for one in shown:
        members[one.entry.class_name].append(one)
    enough = [group for group in members.values() if len(group) >= size]
    return [draw.sample(group, size) for group in draw.choices(enough, [len(group) for group in enough], k=count)]


def neighbours(shown: Sequence[Shown]) -> list[list[Shown]]:
    """Pair photographs of one class of Oxford-102 whose numbers follow each other."""
    found = [
        (one.entry.class_name, int(number[1]), one)
        for one in shown
        if one.entry.source == "oxford102" and (number := NUMBER.search(one.entry.path))
    ]
    found.sort(key=lambda each: each[:2])
    return [[a[2], b[2]] for a, b in pairwise(found) if a[0] == b[0] and b[1] - a[1] <= NEIGHBOURS]


def report(title: str, classifier: Classifier, groups: list[list[Shown]], others: list[list[Shown]]) -> None:
    """Print accuracy, calibration and refusal of the answers about groups."""
    names = classifier.answerable
    answers = together(classifier, groups)
    probabilities = np.array([[one.all_predictions[name] for name in names] for one in answers])
    targets = np.array([names.index(group[0].entry.class_name) for group in groups])
    metrics = evaluate(probabilities, targets, names)
    kept = np.mean([not one.rejected for one in answers])
    refused = [one.rejected for one in together(classifier, others)]
    print(
        f"{title}: right {metrics['accuracy']['value']:.2%}, log loss {metrics['log_loss']['value']:.4f}, ECE "
        f"{metrics['ece']['value']:.4f}, kept {kept:.2%}"
        f"{f', outliers refused {np.mean(refused):.2%}' if refused else ''}",
        flush=True,
    )


def together(classifier: Classifier, groups: list[list[Shown]]) -> list:
    """Return the answers about groups, as `flowers classify --group folder` gives them for a folder each."""
    results = (
        Result(f"{number}/{place}", one.result.outcome)
        for number, group in enumerate(groups)
        for place, one in enumerate(group)
    )
    return [one.outcome for one in grouped(results, by_folder, classifier, 0)]


if __name__ == "__main__":
    main()
