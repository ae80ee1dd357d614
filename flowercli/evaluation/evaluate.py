"""``flowers eval``: the metrics of a bundle on one split, for its torch weights and for each ONNX file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.bundle import CARD, CHECKSUMS, Bundle, add_files
from flowercli.errors import UsageError
from flowercli.evaluation.answers import CPU_ALONE, Answers, Runs, ask, variants_of
from flowercli.evaluation.card import model_card, stated_license
from flowercli.evaluation.metrics import by_source, evaluate, refusal
from flowercli.models import FOLDER as SHIPPED
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    from flowercli.data.manifest import Entry
    from flowercli.evaluation.bundle_data import BundleData


@dataclass(frozen=True)
class Evaluation:
    """The metrics of each variant of a bundle on one split, and the answers that they are computed from."""

    bundle: Bundle
    split: str
    variants: dict[str, dict[str, Any]]
    answers: dict[str, Answers]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as ``flowers eval --json`` prints it: the metrics without the answers."""
        return {"bundle": str(self.bundle.path), "split": self.split, "variants": self.variants}


def evaluate_bundle(
    bundle: Bundle,
    data: BundleData,
    split: str,
    advance: Advance = untold,
    *,
    only: Sequence[str] = (),
    runs: Runs = CPU_ALONE,
) -> Evaluation:
    """Evaluate every variant that a bundle has, and its refusal where there are pictures to refuse.

    Args:
        bundle: the model.
        data: its dataset and manifest.
        split: ``train``, ``val`` or ``test``.
        advance: called after each photograph of each step.
        only: the classes that may be answered, if not all: photographs of others are to be refused then.
        runs: what runs the ONNX files.

    Raises:
        UsageError: the classes are not those of the manifest.
        DataError: photographs are missing, or are not those of the manifest.
        DeviceError: the device cannot be had.
        BundleError: the bundle has nothing to evaluate.
    """
    data.check_classes(bundle.class_names)
    data.check_unchanged(split, advance)
    photos, outliers = data.photos(split), data.outliers(split)
    answers, metrics = {}, {}
    for variant in variants_of(bundle):
        said = ask(bundle, variant, data.root, photos, advance, runs)
        outside = []
        if outliers:
            outside.append(Outside(ask(bundle, variant, data.outliers_root, outliers, advance, runs), outliers))
        if only:
            said, others = _restrict(said, photos, bundle, only)
            outside = [*(one.among(bundle, only) for one in outside), *others]
        answers[variant] = said
        asked = [photo for photo in photos if not only or photo.class_name in only]
        metrics[variant] = _metrics(bundle, said, asked, outside)
    return Evaluation(bundle, split, metrics, answers)


@dataclass(frozen=True)
class Outside:
    """Answers about pictures that are to be refused, and what kind of picture each is."""

    answers: Answers
    photos: Sequence[Entry]

    def among(self, bundle: Bundle, only: Sequence[str]) -> Outside:
        """Return the same where some classes only may be answered."""
        return Outside(self.answers.among([bundle.class_names.index(name) for name in only]), self.photos)


def _restrict(
    answers: Answers, photos: Sequence[Entry], bundle: Bundle, only: Sequence[str]
) -> tuple[Answers, list[Outside]]:
    """Return the answers about photographs of some classes, among these, and the others as pictures to refuse."""
    inside = np.array([photo.class_name in only for photo in photos])
    if not inside.any():
        message = f"No photograph of this split shows {' or '.join(only)}."
        raise UsageError(message, hint="Another --split, or --data")
    among = answers.among([bundle.class_names.index(name) for name in only])
    others = [photo for photo in photos if photo.class_name not in only]
    return among.take(inside), [Outside(among.take(~inside), others)] if others else []


def _metrics(bundle: Bundle, answers: Answers, photos: Sequence[Entry], outside: Sequence[Outside]) -> dict[str, Any]:
    metrics = evaluate(answers.probabilities, answers.targets, bundle.class_names)
    metrics |= by_source(answers, photos, bundle.rejection_threshold)
    if not outside:
        return metrics
    known = np.concatenate([one.answers.known for one in outside])
    kinds = [photo.class_name for one in outside for photo in one.photos]
    return {**metrics, "refusal": refusal(answers.known, known, kinds, bundle.rejection_threshold)}


def can_record(bundle: Bundle) -> bool:
    """Whether the bundle is a folder to write to: not one that ships, nor a delivery, which has checksums."""
    ours = SHIPPED not in bundle.path.parents and not (bundle.path / CHECKSUMS).exists()
    return not bundle.is_lone_onnx and ours and os.access(bundle.path, os.W_OK)


def record(evaluation: Evaluation, scratch: Path) -> Bundle:
    """Write the metrics into the bundle's description, and into its model card unless people corrected that.

    Args:
        evaluation: of a bundle folder that may be written to.
        scratch: a temporary folder.
    """
    bundle = evaluation.bundle
    known = bundle.section.get("metrics", {})
    metrics = {**known, evaluation.split: {**known.get(evaluation.split, {}), **evaluation.variants}}
    if bundle.card_is_corrected:
        return add_files(bundle, {}, metrics=metrics)
    card = scratch / CARD
    description = {**bundle.config, "flowers": {**bundle.section, "metrics": metrics}}
    card.write_text(model_card(description, license_id=stated_license(bundle)), encoding="utf-8")
    return add_files(bundle, {CARD: card}, metrics=metrics)
