"""How often `flowers drift` cries wolf, and how often it notices a change, on real photographs.

python benchmarks/drift.py PHOTOS [--model NAME] [--other FOLDER ...] [--draws 200] [--changed-draws 50]

PHOTOS is the dataset of the model. Its validation and test photographs, none of which it was trained on, are dealt anew
each time: as many as validation has become the reference, and the log is drawn from the others, unchanged or changed. A
log larger than what there is, is drawn with replacement, but for the unchanged one.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from flowercli.bundle import MANIFEST
from flowercli.data.manifest import Manifest
from flowercli.inference.classifier import Classifier
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import ordered_map
from flowercli.inference.sources import walk
from flowercli.models import load_model
from flowercli.monitoring.drift import DRIFTING, compare
from flowercli.monitoring.features import Sample, describe
from flowercli.monitoring.reference import Reference, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Change = Callable[[Image.Image], Image.Image]
    Draw = Callable[[np.ndarray, int, np.random.Generator], Sample]

SIZES = (50, 100, 300)
# Of a folder of other pictures, no more are asked about.
MOST_OTHERS = 600
CHANGES: dict[str, Change] = {
    "half as bright": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
    "a quarter less bright": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
    "blurred, radius 2": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "blurred, radius 4": lambda image: image.filter(ImageFilter.GaussianBlur(4)),
    "a third of the size": lambda image: image.resize((image.width // 3, image.height // 3)),
}


def main() -> None:
    """Print one row for each kind of log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--other", type=Path, nargs="+", default=[], help="folders of pictures of something else")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--changed-draws", type=int, default=50)
    arguments = parser.parse_args()
    classifier = Classifier.open(load_model(arguments.model), "cpu")
    manifest = Manifest.read(classifier.bundle.file(MANIFEST))
    paths = [arguments.photos / photo.path for split in ("val", "test") for photo in manifest.of_split(split)]
    bench = Bench(classifier, ask(classifier, paths), len(manifest.of_split("val")))
    print(f"{bench.kept} photographs in the reference, {len(paths) - bench.kept} others")
    print("| log | " + " | ".join(f"{size} answers" for size in SIZES) + " | by, at 100 |\n|---|---|---|---|---|")
    bench.row("unchanged", bench.unchanged, arguments.draws)
    for name, change in CHANGES.items():
        bench.row(name, bench.mixed(ask(classifier, paths, change), 1.0), arguments.changed_draws)
    for share in (0.4, 0.6):
        bench.row(f"{share:.0%} of one class", bench.one_class(share), arguments.changed_draws)
    for folder in arguments.other:
        found = list(walk(str(folder)))
        others = ask(classifier, found[:: -(-len(found) // MOST_OTHERS)])
        for share in (0.1, 0.25, 1.0):
            bench.row(f"{share:.0%} of {folder.name}", bench.mixed(others, share, apart=True), arguments.changed_draws)


class Bench:
    """Photographs of a model's own kind, dealt anew into a reference and a log, again and again."""

    def __init__(self, classifier: Classifier, own: Sample, kept: int) -> None:
        self.names = classifier.bundle.class_names
        self.own, self.kept = own, kept

    def row(self, name: str, draw: Draw, draws: int) -> None:
        """Print how often logs of each size are called drifting, and because of which features."""
        cells, reasons = [], ""
        for size in SIZES:
            found = [self.verdict(draw, size, np.random.default_rng(seed)) for seed in range(draws)]
            if any(one is None for one in found):
                cells.append("–")
                continue
            drifting = [one for one in found if one]
            cells.append(f"{len(drifting) / draws:.1%} of {draws}")
            if size == SIZES[1]:
                counts = {feature: sum(feature in one for one in drifting) for one in drifting for feature in one}
                reasons = ", ".join(sorted(counts, key=lambda feature: -counts[feature])[:3])
        print(f"| {name} | {' | '.join(cells)} | {reasons} |", flush=True)

    def verdict(self, draw: Draw, size: int, generator: np.random.Generator) -> list[str] | None:
        """Return the changed features if one log is drifting, an empty list if not, None if it is too large."""
        dealt = generator.permutation(len(self.own))
        reference = Reference(self.own.take(dealt[: self.kept]), "")
        try:
            current = draw(dealt[self.kept :], size, generator)
        except ValueError:
            return None
        comparison = compare(reference, current, self.names)
        return [feature.name for feature in comparison.changed] if comparison.verdict == DRIFTING else []

    def unchanged(self, left: np.ndarray, size: int, generator: np.random.Generator) -> Sample:
        """Draw photographs that are not in the reference, none of them twice."""
        return self.own.take(generator.choice(left, size, replace=False))

    def one_class(self, share: float) -> Draw:
        """Draw photographs of which a share is answered with the first class."""

        def draw(left: np.ndarray, size: int, generator: np.random.Generator) -> Sample:
            first = self.own.class_index[left] == 0
            chances = np.where(first, share / first.sum(), (1 - share) / (~first).sum())
            return self.own.take(generator.choice(left, size, p=chances, replace=True))

        return draw

    def mixed(self, others: Sample, share: float, *, apart: bool = False) -> Draw:
        """Draw a share of other pictures; those that are not ``apart`` are changed copies of the own ones."""

        def draw(left: np.ndarray, size: int, generator: np.random.Generator) -> Sample:
            places = np.arange(len(others)) if apart else left
            count = round(size * share)
            strange = others.take(generator.choice(places, count, replace=count > len(places)))
            own = self.own.take(generator.choice(left, size - count, replace=size - count > len(left)))
            return together(strange, own)

        return draw


def ask(classifier: Classifier, paths: Sequence[Any], change: Change | None = None) -> Sample:
    """Return the features of pictures, changed before they are asked about."""

    def one(path: str) -> Any:
        if change is None:
            return observe(classifier, [classifier.load(path)])[0]
        file = io.BytesIO()
        with Image.open(path) as image:
            change(image.convert("RGB")).save(file, "JPEG", quality=92)
        return observe(classifier, [classifier.load(file.getvalue())])[0]

    return describe(list(ordered_map(one, map(str, paths), available_cores())))


def together(first: Sample, second: Sample) -> Sample:
    """Return both samples as one."""
    return Sample.of({name: np.concatenate([values, vars(second)[name]]) for name, values in vars(first).items()})


if __name__ == "__main__":
    main()
