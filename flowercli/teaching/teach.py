"""``flowers teach``: look at the photographs, fit a head, measure it, and write the bundle that has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowercli.atomic import scratch_folder
from flowercli.bundle import EMBEDDINGS, ONNX, PORTABLE, Bundle, embeddable_config
from flowercli.errors import BundleError, UsageError
from flowercli.inference.classifier import Classifier
from flowercli.inference.session import choose_graph
from flowercli.progress import Advance, untold
from flowercli.shown import in_shell
from flowercli.teaching.exemplars import NONE, Exemplars
from flowercli.teaching.fit import Fitted, Space, fit
from flowercli.teaching.graph_edit import without_addition
from flowercli.teaching.head import KNOWN, PROBABILITIES
from flowercli.teaching.history import KEY, History
from flowercli.teaching.lesson import Lesson, check_apart, check_number, known_as, read_lesson
from flowercli.teaching.report import (
    Cost,
    Measured,
    Report,
    TaughtFlower,
    confused_with,
    features_of,
    threshold_of,
    with_half,
)
from flowercli.teaching.write import write_taught

# Values of an embedding: what is fitted has a square of them.
MOST_WIDTH = 16_384


class Pupil:
    """A model that is to be taught, without what it was taught before, and what that was."""

    def __init__(self, bundle: Bundle) -> None:
        if bundle.is_lone_onnx:
            message = f"{bundle.path} is a lone .onnx: it does not hold what it takes to teach it."
            raise BundleError(message, hint="Name the bundle that it was exported from: --model BUNDLE")
        path = choose_graph(bundle, PORTABLE)
        self.bundle, self.graph = bundle, path.name
        self.history = History.of(bundle, self.graph)
        before = self.history
        self.seen = Exemplars.read(bundle, self.graph, len(before.class_names), len(before.flowers))
        section = {key: value for key, value in bundle.section.items() if key != KEY}
        names = {"num_classes": len(before.class_names), "label_names": before.class_names}
        section |= {"scientific_names": before.scientific_names, "rejection_threshold": before.threshold}
        cfg = {**bundle.pretrained_cfg, "num_classes": len(before.class_names)}
        self.config: dict[str, Any] = {**bundle.config, **names, "pretrained_cfg": cfg, "flowers": section}
        self.model = path.read_bytes()
        if not before.is_empty:
            sizes = {PROBABILITIES: len(before.class_names), KNOWN: 1}
            self.model = without_addition(self.model, sizes, embeddable_config(self.config))

    def opened(self, folder: Path) -> Classifier:
        """Open the model as it was before anything was taught it; ``folder`` gets its graph."""
        path = folder / ONNX
        path.write_bytes(self.model)
        opened = Classifier.open(Bundle(path, self.config), "cpu")
        spec = opened.spec
        width = opened.run(np.zeros((1, spec.height, spec.width, 3), np.uint8)).embedding.shape[1]
        if width != self.seen.embedding.shape[1] or width > MOST_WIDTH:
            message = f"{EMBEDDINGS} of {self.bundle.path} is of another network than that of {self.graph}."
            raise BundleError(message, hint=f"flowers reference {in_shell(self.bundle.path)} --data DIR")
        return opened

    @property
    def names(self) -> list[str]:
        """The class names that it was trained on, and those that it was taught."""
        return [*self.history.class_names, *self.history.flowers]


def teach(
    bundle: Bundle,
    wanted: Mapping[str, Sequence[str]],
    forget: Sequence[str],
    output: Path,
    advance: Advance = untold,
) -> Report:
    """Teach a model flowers, or let it forget some, and write the one that comes of it.

    Args:
        bundle: the model, which stays as it is. Taught before, it is taught all of it anew.
        wanted: paths of photographs by what their flower is called.
        forget: class names, or those names in words.
        output: a new folder.
        advance: called after each photograph.

    Raises:
        BundleError: the bundle cannot be taught: it lacks what its model sees of validation photographs.
        DataError: there are too few photographs of a flower, or too many, or one is given for two.
        UsageError: what is to be forgotten is not known, or a name is none.
    """
    pupil = Pupil(bundle)
    history, seen, untaught = _forgotten(pupil, forget)
    asked: dict[str, list[str]] = {}
    for text, paths in wanted.items():
        asked.setdefault(known_as(text, pupil.names), []).extend(paths)
    for name, paths in asked.items():
        check_number(name, paths)
    with scratch_folder("teach") as folder:
        classifier = pupil.opened(folder)
        lessons = [read_lesson(classifier, name, paths, advance) for name, paths in asked.items()]
        check_apart(lessons, history.flowers)
        for lesson in lessons:
            history, seen = _with_lesson(history, seen, lesson)
        course = Course(history, seen)
        report = course.report(str(output), lessons, untaught)
        write_taught(pupil, classifier, course, report.threshold, output)
    return report


def _forgotten(pupil: Pupil, forget: Sequence[str]) -> tuple[History, Exemplars, list[str]]:
    """Take flowers away: what was taught of them, and of those that were never taught the class."""
    history, seen, untaught = pupil.history, pupil.seen, list[str]()
    for name in dict.fromkeys(known_as(text, pupil.names) for text in forget):
        if name in history.flowers:
            untaught.append(name)
            which = len(history.class_names) + list(history.flowers).index(name)
            index = seen.class_index
            seen = seen.with_(index - (index > which)).take(index != which)
            flowers = {key: value for key, value in history.flowers.items() if key != name}
            history = replace(history, flowers=flowers)
        elif name in history.class_names and name not in history.forgotten:
            history = replace(history, forgotten=[*history.forgotten, name])
        else:
            hint = f"flowers models {in_shell(pupil.bundle.path)}   (lists the flowers that it knows)"
            raise UsageError(f"The model does not know '{name}'.", hint=hint)
    if len(history.forgotten) == len(history.class_names):
        raise UsageError("Then the model would know nothing that it was trained on.", hint="Let it keep one flower.")
    return history, seen, untaught


def _with_lesson(history: History, seen: Exemplars, lesson: Lesson) -> tuple[History, Exemplars]:
    before = history.flowers.get(lesson.name, [])
    new = [place for place, sha256 in enumerate(lesson.sha256) if sha256 not in before]
    taught = {**history.flowers, lesson.name: [*before, *(lesson.sha256[place] for place in new)]}
    index = len(history.class_names) + list(taught).index(lesson.name)
    if new:
        looked = [lesson.seen[place] for place in new]
        added = Exemplars.of(looked, [index] * len(new), [lesson.sha256[place] for place in new])
        seen = seen.and_(added)
    return replace(history, flowers=taught), seen


class Course:
    """All that a model is taught now: the history, what was seen, and the head that comes of it."""

    def __init__(self, history: History, seen: Exemplars) -> None:
        self.history, self.seen = history, seen
        self.answers = history.answers()
        self.names = [name for name, _ in self.answers]
        self.classes = len(history.class_names)
        taught = seen.class_index >= self.classes
        # A picture that shows none of the flowers of before may show one that is taught now.
        others = (seen.class_index == NONE) & np.isin(seen.digest, seen.digest[taught])
        self.before = seen.take(~taught & ~others)

    @property
    def place(self) -> npt.NDArray[np.int64]:
        """Which class each of before, then each taught one becomes; none where it is forgotten."""
        where = {name: place for place, name in enumerate(self.names)}
        kept = [-1 if name in self.history.forgotten else where[name] for name in self.history.class_names]
        return np.array([*kept, *(where[name] for name in self.history.flowers)], dtype=np.int64)

    @cached_property
    def space(self) -> Space:
        """The exemplars of before, in the space of the features."""
        return Space(self.before, self.classes)

    @cached_property
    def taught(self) -> list[npt.NDArray[np.float64]]:
        """The features of the photographs of each taught flower."""
        return features_of(self.seen, self.classes, len(self.history.flowers))

    @cached_property
    def fitted(self) -> Fitted:
        """The head, and what it says of what was left out."""
        kept = np.array([name not in self.history.forgotten for name in self.history.class_names])
        said = [self.photographs(which).log_probabilities for which in range(len(self.taught))]
        return fit(self.space, self.before, self.taught, said, kept, self.place)

    def photographs(self, which: int) -> Exemplars:
        """Return what was seen of a taught flower."""
        return self.seen.take(self.seen.class_index == self.classes + which)

    def measured(self) -> tuple[Measured, list[Measured]]:
        """Ask the head about the exemplars of before and the photographs of each taught flower, all left out."""
        found = [
            Measured.of(self.fitted, evidence, self.photographs(which))
            for which, evidence in enumerate(self.fitted.taught)
        ]
        return Measured.of(self.fitted, self.fitted.exemplars, self.before), found

    def threshold(self, before: Measured, taught: Sequence[Measured]) -> float:
        """Return the threshold for ``known``."""
        if self.history.is_empty:
            return self.history.threshold
        shows = self.shows
        known = [one.known for one in taught]
        return threshold_of(self.history.threshold, self.before.take(shows), before.known[shows], known)

    @property
    def shows(self) -> npt.NDArray[np.bool_]:
        """Which exemplars of before show a flower that is still answered."""
        index = self.before.class_index
        shows: npt.NDArray[np.bool_] = (index >= 0) & (self.place[index.clip(min=0)] >= 0)
        return shows

    def report(self, output: str, lessons: Sequence[Lesson], untaught: Sequence[str]) -> Report:
        """Measure it."""
        before, taught = self.measured()
        threshold = self.threshold(before, taught)
        order = list(self.history.flowers)
        flowers = [
            self._flower(order.index(lesson.name), lesson, taught[order.index(lesson.name)], threshold)
            for lesson in lessons
        ]
        history = self.history
        cost = self._cost(before, threshold)
        return Report(
            history.model, output, flowers, cost, len(self.names), threshold, history.forgotten, list(untaught)
        )

    def _flower(self, which: int, lesson: Lesson, measured: Measured, threshold: float) -> TaughtFlower:
        target = int(self.place[self.classes + which])
        return TaughtFlower(
            name=lesson.name,
            is_new=lesson.name not in self.history.class_names,
            photos=len(measured.answered),
            right=int((measured.answered == target).sum()),
            kept=int((measured.known >= threshold).sum()),
            confused=confused_with(measured.answered, target, self.names),
            half=with_half(self.space, self.fitted, self.taught, which, self.photographs(which)),
            unreadable=lesson.unreadable,
            copies=lesson.copies,
        )

    def _cost(self, measured: Measured, threshold: float) -> Cost:
        shows, others = self.shows, self.before.class_index < 0
        index = self.before.class_index[shows]
        was = self.before.log_probabilities[shows].argmax(axis=1) == index
        now = measured.answered[shows] == self.place[index]
        known, limit = self.before.known, self.history.threshold
        taken = measured.answered[shows][was & ~now]
        return Cost(
            photos=len(index),
            right=(int(was.sum()), int(now.sum())),
            kept=(int((known[shows] >= limit).sum()), int((measured.known[shows] >= threshold).sum())),
            others=int(others.sum()),
            refused=(int((known[others] < limit).sum()), int((measured.known[others] < threshold).sum())),
            taken=confused_with(taken, -1, self.names),
        )
