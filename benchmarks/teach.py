"""How well `flowers teach` does: flowers that a model was not trained on, from 3, 5, 10 and 20 photographs each.

python benchmarks/teach.py BUNDLE DATA UNSEEN [--outliers DIR] [--draws 10] [--train]

BUNDLE: a model after `flowers reference`; DATA: its dataset, whose test photographs say what teaching costs; UNSEEN: a
folder with a subfolder a flower that it was not trained on. Each draw takes photographs of every flower at random,
teaches all flowers at once, then each alone, and asks about the photographs that are left. Nearest mean: the flower,
known or taught, whose mean embedding has the largest cosine. `--train` fine-tunes with `flowers train` as well, on the
same photographs and as many of each known flower; it needs the extra 'train', and minutes a draw.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flowercli.bundle import Bundle
from flowercli.data.class_names import class_name
from flowercli.evaluation.bundle_data import bundle_data
from flowercli.inference.classifier import Classifier
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import ordered_map
from flowercli.inference.sources import expand
from flowercli.models import load_model
from flowercli.teaching.exemplars import NONE, Exemplars, see
from flowercli.teaching.history import History
from flowercli.teaching.report import Measured
from flowercli.teaching.teach import Course, Pupil

PHOTOS = (3, 5, 10, 20)


@dataclass(frozen=True)
class Asked:
    """What a model sees: of known flowers' test photographs, of pictures without one, of unseen flowers by name."""

    known: Exemplars
    others: Exemplars
    unseen: dict[str, Exemplars]
    paths: dict[str, list[str]]


@dataclass(frozen=True)
class Draw:
    """What came of one draw, in shares of photographs: of new flowers, of known ones, of other pictures."""

    new: float
    kept_new: float
    known: tuple[float, float]
    kept: tuple[float, float]
    refused: tuple[float, float]
    unknown_refused: tuple[float, float]
    seconds: float


def look(classifier: Classifier, paths: Sequence[str], index: Sequence[int]) -> Exemplars:
    """Ask the model what it sees of photographs."""
    seen = list(ordered_map(lambda path: see(classifier, path), paths, available_cores()))
    return Exemplars.of(seen, index, [f"{place:064x}" for place in range(len(paths))])


def asked(bundle: Bundle, data: Path, unseen: Path, outliers: Path | None) -> Asked:
    """Ask a model about everything that is needed, once."""
    classifier = Classifier.open(bundle, "cpu")
    found = bundle_data(bundle, data, outliers)
    index = {name: place for place, name in enumerate(bundle.class_names)}
    photos = found.photos("test")
    known = look(classifier, [str(data / one.path) for one in photos], [index[one.class_name] for one in photos])
    folders = sorted(each for each in unseen.iterdir() if each.is_dir() and class_name(each.name) not in index)
    paths = {each.name: list(expand([str(each)], sys.stdin)) for each in folders}
    flowers = {name: look(classifier, those, [NONE] * len(those)) for name, those in paths.items()}
    listed = found.outliers("test") if outliers else []
    pictures = [str(found.outliers_root / one.path) for one in listed if one.class_name not in paths]
    others = look(classifier, pictures, [NONE] * len(pictures)) if pictures else known.take(slice(0))
    return Asked(known, others, flowers, paths)


def taught(history: History, base: Exemplars, lessons: dict[str, Exemplars]) -> Course:
    """Teach a model these flowers."""
    seen = base
    for which, one in enumerate(lessons.values()):
        seen = seen.and_(one.with_(np.full(len(one), len(history.class_names) + which)))
    flowers = {name: ["0" * 64] for name in lessons}
    return Course(History(**{**vars(history), "flowers": flowers}), seen)


def answered(course: Course, seen: Exemplars) -> Measured:
    """Ask a taught model about what was seen."""
    return Measured.of(course.fitted, course.fitted.head.evidence(seen.embedding), seen)


def draws(history: History, base: Exemplars, found: Asked, photos: int, count: int, *, alone: bool) -> Iterator[Draw]:
    """Yield what came of each draw."""
    for seed in range(count):
        generator = np.random.default_rng((seed, photos))
        orders = {name: generator.permutation(len(one)) for name, one in found.unseen.items()}
        names = [name for name, order in orders.items() if len(order) > photos + 5]
        for group in [[name] for name in names] if alone else [names]:
            start = time.perf_counter()
            lessons = {name: found.unseen[name].take(orders[name][:photos]) for name in group}
            course = taught(history, base, lessons)
            before, those = course.measured()
            threshold = course.threshold(before, those)
            seconds = time.perf_counter() - start
            left = {name: found.unseen[name].take(orders[name][photos:]) for name in group}
            rest = [one for name, one in found.unseen.items() if name not in group]
            yield measured(course, threshold, left, found, rest, seconds)


def measured(
    course: Course, limit: float, left: dict[str, Exemplars], found: Asked, rest: list[Exemplars], seconds: float
) -> Draw:
    """Ask a taught model about what it was not taught with."""
    new = {name: answered(course, one) for name, one in left.items()}
    known, others = answered(course, found.known), answered(course, found.others)
    strangers = [(answered(course, one).known, one.known) for one in rest]
    was, old = found.known.log_probabilities.argmax(axis=1), course.history.threshold
    target = found.known.class_index
    return Draw(
        new=float(np.mean([(one.answered == course.names.index(name)).mean() for name, one in new.items()])),
        kept_new=float(np.mean([(one.known >= limit).mean() for one in new.values()])),
        known=(float((was == target).mean()), float((known.answered == target).mean())),
        kept=(float((found.known.known >= old).mean()), float((known.known >= limit).mean())),
        refused=(share(found.others.known < old), share(others.known < limit)),
        unknown_refused=(
            share(np.concatenate([one for _, one in strangers] or [np.zeros(0)]) < old),
            share(np.concatenate([one for one, _ in strangers] or [np.zeros(0)]) < limit),
        ),
        seconds=seconds,
    )


def share(mask: npt.NDArray[np.bool_]) -> float:
    """Return the share of a mask that holds; none of nothing."""
    return float(mask.mean()) if len(mask) else float("nan")


def nearest_mean(base: Exemplars, found: Asked, photos: int, count: int) -> tuple[float, float]:
    """Return the shares right of new flowers, all taught at once, and of known ones, by the nearest mean."""
    rows = []
    for seed in range(count):
        generator = np.random.default_rng((seed, photos))
        orders = {name: generator.permutation(len(one)) for name, one in found.unseen.items()}
        names = [name for name, order in orders.items() if len(order) > photos + 5]
        known = np.unique(base.class_index[base.class_index >= 0])
        means = [base.embedding[base.class_index == each].mean(axis=0) for each in known]
        means += [found.unseen[name].embedding[orders[name][:photos]].mean(axis=0) for name in names]
        directions = np.stack([mean / np.linalg.norm(mean) for mean in means])
        right = [
            ((found.unseen[name].embedding[orders[name][photos:]] @ directions.T).argmax(axis=1) == len(known) + which)
            for which, name in enumerate(names)
        ]
        said = (found.known.embedding @ directions.T).argmax(axis=1)
        kept = np.append(known, [NONE] * len(names))[said] == found.known.class_index
        rows.append((float(np.mean([one.mean() for one in right])), float(kept.mean())))
    new, old = np.mean(rows, axis=0)
    return float(new), float(old)


def fine_tuned(bundle: Bundle, data: Path, found: Asked, photos: int) -> tuple[float, float, float]:
    """Return the shares right of new and known flowers after `flowers train` on as many of each, and the seconds."""
    generator = np.random.default_rng((0, photos))
    orders = {name: generator.permutation(len(one)) for name, one in found.unseen.items()}
    manifest = bundle_data(bundle, data).manifest
    with tempfile.TemporaryDirectory() as scratch:
        few, left = Path(scratch) / "few", Path(scratch) / "left"
        for name in bundle.class_names:
            theirs = [one.path for one in manifest.of_split("train") if one.class_name == name]
            link(few / "train" / name, [str(data / path) for path in generator.permutation(theirs)[:photos]])
            link(few / "val" / name, [str(data / o.path) for o in manifest.of_split("val") if o.class_name == name][:3])
            link(left / name, [str(data / o.path) for o in manifest.of_split("test") if o.class_name == name])
        for name, paths in found.paths.items():
            chosen = [paths[place] for place in orders[name]]
            link(few / "train" / name, chosen[:photos])
            link(few / "val" / name, chosen[:photos])
            link(left / name, chosen[photos:])
        start = time.perf_counter()
        options = ("tracking=none", "plots=false", f"output={scratch}", "name=tuned", "recipe=shipped_garden")
        run("split", str(few))
        run("train", "--data", str(few), *options, f"model.weights={bundle.path}", "epochs=8")
        run("export", f"{scratch}/tuned", "--onnx", "--int8", "--max-drop", "5")
        seconds = time.perf_counter() - start
        classifier = Classifier.open(Bundle.load(Path(scratch) / "tuned"), "cpu")
        new = np.mean([share(named(classifier, left / name, name)) for name in found.paths])
        old = np.concatenate([named(classifier, left / name, name) for name in bundle.class_names])
        return float(new), share(old), seconds


def named(classifier: Classifier, folder: Path, name: str) -> npt.NDArray[np.bool_]:
    """Return which pictures of a folder are named so."""
    paths = sorted(map(str, folder.iterdir())) if folder.is_dir() else []
    said = ordered_map(lambda path: classifier.classify(path).predicted_class, paths, available_cores())
    return np.array([one == name for one in said], dtype=bool)


def link(folder: Path, paths: Sequence[str]) -> None:
    """Link files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        (folder / Path(path).name).symlink_to(Path(path).resolve())


def run(*arguments: str) -> None:
    """Run the program."""
    subprocess.run([sys.executable, "-m", "flowercli", *arguments], check=True, capture_output=True)


def row(of: Callable[[Draw], float], results: Sequence[Draw]) -> str:
    """Return a mean and a deviation over draws as text."""
    values = np.array([of(one) for one in results])
    return f"{100 * np.nanmean(values):.1f} ± {100 * np.nanstd(values):.1f}"


def table(history: History, base: Exemplars, found: Asked, count: int) -> None:
    """Print what came of all draws."""
    print(f"{sum(map(len, found.unseen.values()))} photographs of {len(found.unseen)} flowers that it was not taught;")
    print(f"{len(found.known)} test photographs of known ones, {len(found.others)} pictures without one; {count} draws")
    titles = "photographs, new right, new kept, known before, known now, known kept, others refused, unknown refused, s"
    print(f"\n| taught | {' | '.join(titles.split(', '))} |")
    print("|---" * 10 + "|")
    for alone in (False, True):
        for photos in PHOTOS:
            results = list(draws(history, base, found, photos, count, alone=alone))
            pairs = (lambda d: d.kept, lambda d: d.refused, lambda d: d.unknown_refused)
            moved = [
                " → ".join(row(lambda d, p=p, i=i: p(d)[i], results).split(" ±")[0] for i in (0, 1)) for p in pairs
            ]
            cells = [str(photos), row(lambda d: d.new, results), row(lambda d: d.kept_new, results)]
            cells += [row(lambda d: d.known[0], results).split(" ±")[0], row(lambda d: d.known[1], results), *moved]
            cells.append(f"{np.mean([one.seconds for one in results]):.1f}")
            print(f"| {'one' if alone else 'all'} | {' | '.join(cells)} |", flush=True)
    print("\n| nearest mean: photographs | new right | known now |\n|---|---|---|")
    for photos in PHOTOS:
        new, old = nearest_mean(base, found, photos, count)
        print(f"| {photos} | {100 * new:.1f} | {100 * old:.1f} |", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("data", type=Path)
    parser.add_argument("unseen", type=Path)
    parser.add_argument("--outliers", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--train", action="store_true", help="fine-tune too, one draw of each")
    options = parser.parse_args()
    bundle = load_model(options.bundle)
    pupil = Pupil(bundle)
    found = asked(bundle, options.data, options.unseen, options.outliers)
    table(pupil.history, pupil.seen, found, options.draws)
    for photos in PHOTOS if options.train else ():
        new, old, seconds = fine_tuned(bundle, options.data, found, photos)
        print(f"fine-tuned, {photos} photographs: new {100 * new:.1f}, known {100 * old:.1f}, {seconds:.0f} s")


if __name__ == "__main__":
    main()
