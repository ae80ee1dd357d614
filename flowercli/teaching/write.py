"""Write the bundle of a model that was taught: its graph with the head in it, held to the arithmetic that fitted it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowercli.atomic import new_folder, scratch_folder
from flowercli.bundle import CARD, EMBEDDINGS, REFERENCE, Bundle, create, describe, embeddable_config
from flowercli.errors import ExportError
from flowercli.evaluation.card import model_card
from flowercli.inference.classifier import Classifier
from flowercli.monitoring.features import Sample
from flowercli.monitoring.reference import Reference
from flowercli.teaching.exemplars import LEAST_PROBABILITY
from flowercli.teaching.graph_edit import with_addition
from flowercli.teaching.history import KEY

if TYPE_CHECKING:
    from flowercli.teaching.teach import Course, Pupil

# How far a probability of the graph, in fp32, may be from that of the arithmetic.
TOLERANCE = 1e-3
PICTURES = 8
# Of the model before it was taught: figures of its answers, where its photographs are, whence it was downloaded.
LEFT_BEHIND = frozenset({"metrics", "provenance", "history", "origin", "files", "exports", "known"})


def write_taught(pupil: Pupil, classifier: Classifier, course: Course, threshold: float, output: Path) -> Bundle:
    """Write the bundle into a new folder.

    Args:
        pupil: the model as it was.
        classifier: it, opened.
        course: what it is taught.
        threshold: below which an answer is refused.
        output: the folder; it appears when it is whole.

    Raises:
        ExportError: the graph does not give what was computed. Nothing is written.
    """
    config = _description(pupil, course, threshold)
    with scratch_folder("taught") as scratch, new_folder(output) as folder:
        graph = scratch / pupil.graph
        text = embeddable_config(config)
        model = pupil.model
        if not course.history.is_empty:
            model = with_addition(model, course.fitted.head.addition(), text)
        graph.write_bytes(model)
        record = pupil.bundle.section.get("exports", {}).get(pupil.graph)
        if isinstance(record, dict):  # How its network was rounded, which whoever opens it wants to know.
            config["flowers"]["exports"] = {pupil.graph: {**record, "size": len(model)}}
        _check(Bundle(graph, config), classifier, course)
        files = {pupil.graph: graph, **_samples(scratch, graph, course)}
        (scratch / CARD).write_text(model_card(config), encoding="utf-8")
        create(folder, config, {**files, CARD: scratch / CARD})
    return Bundle.load(output)


def _description(pupil: Pupil, course: Course, threshold: float) -> dict[str, Any]:
    before: dict[str, Any] = pupil.bundle.section
    section = {key: value for key, value in before.items() if key not in LEFT_BEHIND | {KEY}}
    section |= {
        "rejection_threshold": threshold,
        "scientific_names": [scientific for _, scientific in course.answers],
        "embedding_size": int(course.seen.embedding.shape[1]),
        "files": {},
    }
    if not course.history.is_empty:
        section[KEY] = course.history.as_dict()
        # A log tells models apart by it.
        section["known"] = {KEY: course.fitted.head.sha256}
    count = len(course.names)
    return {
        **pupil.config,
        "num_classes": count,
        "label_names": course.names,
        "pretrained_cfg": {**pupil.bundle.pretrained_cfg, "num_classes": count},
        "flowers": section,
    }


def _check(written: Bundle, before: Classifier, course: Course) -> None:
    """Ask the new graph and the arithmetic about the same pictures: coarse patterns, of which the seed is fixed."""
    opened = Classifier.open(written, "cpu")
    spec, generator = before.spec, np.random.default_rng(0)
    for _ in range(PICTURES):
        coarse = generator.integers(0, 256, (1, -(-spec.height // 8), -(-spec.width // 8), 3), dtype=np.uint8)
        pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, : spec.height, : spec.width]
        was, now = before.run(np.ascontiguousarray(pixels)), opened.run(np.ascontiguousarray(pixels))
        wanted: tuple[npt.NDArray[Any], ...] = (was.probabilities, was.known)
        if not course.history.is_empty:
            head = course.fitted.head
            logs = np.log(np.maximum(was.probabilities.astype(np.float64), LEAST_PROBABILITY))
            wanted = head.combined(head.evidence(was.embedding), logs, was.known.astype(np.float64))
        found = (now.probabilities, now.known)
        apart = max(float(np.abs(one - other).max()) for one, other in zip(wanted, found, strict=True))
        if not apart <= TOLERANCE:
            message = f"The graph differs by {apart:.1e} from what was computed; the limit is {TOLERANCE:g}."
            raise ExportError(f"{message} Nothing was written.", hint="flowers doctor   (says what runs here)")


def _samples(scratch: Path, graph: Path, course: Course) -> dict[str, Path]:
    """Write what `flowers drift` compares with, and what the next teaching begins with."""
    measured, _ = course.measured()
    seen, shows = course.before, course.shows
    columns = {name: getattr(seen, name)[shows] for name in ("brightness", "width", "height")}
    columns |= {"class_index": measured.answered[shows], "known": measured.known[shows].clip(0, 1)}
    columns["confidence"] = measured.confidence[shows].clip(0, 1)
    Reference(Sample.of(columns), graph.name).write(scratch / REFERENCE)
    course.seen.write(scratch / EMBEDDINGS, describe(graph)["sha256"])
    return {name: scratch / name for name in (REFERENCE, EMBEDDINGS)}
