"""``flowers eval``: the metrics of a bundle on one split, for its torch weights and for each ONNX file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowercli.bundle import CARD, CHECKSUMS, Bundle, add_files
from flowercli.models import FOLDER as SHIPPED
from flowercli.training.answers import Answers, ask, variants_of
from flowercli.training.card import model_card
from flowercli.training.metrics import evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from flowercli.training.answers import Advance
    from flowercli.training.bundle_data import BundleData


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
    bundle: Bundle, data: BundleData, split: str, advance: Advance = lambda _variant, _total: None
) -> Evaluation:
    """Evaluate every variant that a bundle has.

    Args:
        bundle: the model.
        data: its dataset and manifest.
        split: ``train``, ``val`` or ``test``.
        advance: called after each photograph with the variant and the number of photographs.

    Raises:
        UsageError: the classes are not those of the manifest.
        DataError: photographs are missing, or are not those of the manifest.
        BundleError: the bundle has nothing to evaluate.
    """
    data.check_classes(bundle.class_names)
    data.check_unchanged(split)
    photos = data.photos(split)
    answers = {variant: ask(bundle, variant, data.root, photos, advance) for variant in variants_of(bundle)}
    metrics = {
        variant: evaluate(answer.probabilities, answer.targets, bundle.class_names)
        for variant, answer in answers.items()
    }
    return Evaluation(bundle, split, metrics, answers)


def can_record(bundle: Bundle) -> bool:
    """Whether the bundle is a folder to write to: not one that ships, nor a delivery, which has checksums."""
    ours = SHIPPED not in bundle.path.parents and not (bundle.path / CHECKSUMS).exists()
    return not bundle.is_lone_onnx and ours and os.access(bundle.path, os.W_OK)


def record(evaluation: Evaluation, scratch: Path) -> Bundle:
    """Write the metrics into the bundle's description and model card.

    Args:
        evaluation: of a bundle folder that may be written to.
        scratch: a temporary folder.
    """
    bundle = evaluation.bundle
    known = bundle.section.get("metrics", {})
    metrics = {**known, evaluation.split: {**known.get(evaluation.split, {}), **evaluation.variants}}
    card = scratch / CARD
    description = {**bundle.config, "flowers": {**bundle.section, "metrics": metrics}}
    card.write_text(model_card(description), encoding="utf-8")
    return add_files(bundle, {CARD: card}, metrics=metrics)
