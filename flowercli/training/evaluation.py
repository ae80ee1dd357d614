"""``flowers eval``: the metrics of a bundle on one split, for its torch weights and for each ONNX file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.bundle import CARD, ONNX, ONNX_INT8, WEIGHTS, Bundle, add_files
from flowercli.errors import BundleError, UsageError
from flowercli.inference.calibration import softmax
from flowercli.inference.classifier import Classifier
from flowercli.inference.pipeline import available_cores, ordered_map
from flowercli.inference.preprocess import PreprocessSpec, load_pixels
from flowercli.training.card import model_card
from flowercli.training.metrics import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from flowercli.data.manifest import Entry
    from flowercli.training.bundle_data import BundleData

    Ask = Callable[[BundleData, Sequence[Entry]], Iterator[npt.NDArray[Any]]]

# What each file of a bundle is called in the results.
VARIANTS = {"torch": WEIGHTS, "onnx": ONNX, "int8": ONNX_INT8}
TORCH_BATCH = 16


@dataclass(frozen=True)
class Evaluation:
    """The metrics of each variant of a bundle on one split."""

    bundle: Bundle
    split: str
    variants: dict[str, dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as ``flowers eval --json`` prints it."""
        return {"bundle": str(self.bundle.path), "split": self.split, "variants": self.variants}


def evaluate_bundle(
    bundle: Bundle, data: BundleData, split: str, advance: Callable[[str, int], None] = lambda _name, _total: None
) -> Evaluation:
    """Evaluate every variant that a bundle has.

    Args:
        bundle: the model.
        data: its dataset and manifest.
        split: ``train``, ``val`` or ``test``.
        advance: called after each photograph with the variant and the number of photographs.

    Raises:
        DataError: photographs are missing, or are not those of the manifest.
        BundleError: the bundle has nothing to evaluate.
    """
    if list(data.manifest.class_names) != bundle.class_names:
        wanted, found = ", ".join(bundle.class_names), ", ".join(data.manifest.class_names)
        raise UsageError(f"The bundle knows {wanted}; the dataset has {found}.")
    data.check_unchanged(split)
    photos = data.photos(split)
    index = {name: position for position, name in enumerate(bundle.class_names)}
    targets = np.array([index[photo.class_name] for photo in photos])
    results = {}
    for variant, answer in _variants(bundle):
        rows = []
        for row in answer(data, photos):
            rows.append(row)
            advance(variant, len(photos))
        results[variant] = evaluate(np.stack(rows).astype(np.float64), targets, bundle.class_names)
    if not results:
        message = f"The bundle {bundle.path} has neither torch weights nor an ONNX file."
        raise BundleError(message, hint="Fetch or train it again.")
    return Evaluation(bundle, split, results)


def can_record(bundle: Bundle) -> bool:
    """Whether the bundle is a folder that this user may write to."""
    return not bundle.is_lone_onnx and os.access(bundle.path, os.W_OK)


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


def _variants(bundle: Bundle) -> Iterator[tuple[str, Ask]]:
    """Yield each variant that the bundle has, with the function that asks it."""
    if bundle.is_lone_onnx:
        yield "onnx", partial(_ask_onnx, bundle)
        return
    for variant, name in VARIANTS.items():
        if name in bundle.section["files"]:
            yield (
                variant,
                partial(_ask_torch, bundle) if variant == "torch" else partial(_ask_onnx, _only(bundle, name)),
            )


def _only(bundle: Bundle, name: str) -> Bundle:
    """Return the bundle as if this were its only file, so that it is the one that is opened."""
    files = {name: bundle.section["files"][name]}
    return Bundle(bundle.path, {**bundle.config, "flowers": {**bundle.section, "files": files}})


def _ask_onnx(bundle: Bundle, data: BundleData, photos: Sequence[Entry]) -> Iterator[npt.NDArray[Any]]:
    classifier = Classifier.open(bundle, "cpu")

    def ask(path: str) -> npt.NDArray[Any]:
        row: npt.NDArray[Any] = classifier.run(load_pixels(path, classifier.spec)[np.newaxis])[0][0]
        return row

    return ordered_map(ask, (str(data.root / photo.path) for photo in photos), available_cores())


def _ask_torch(bundle: Bundle, data: BundleData, photos: Sequence[Entry]) -> Iterator[npt.NDArray[Any]]:
    import torch

    from flowercli.training.model import load_bundle_model

    model = load_bundle_model(bundle)
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    for start in range(0, len(photos), TORCH_BATCH):
        batch = np.stack([load_pixels(data.root / photo.path, spec) for photo in photos[start : start + TORCH_BATCH]])
        with torch.inference_mode():
            logits = model(torch.from_numpy(batch).permute(0, 3, 1, 2))[0].double().numpy()
        yield from softmax(logits / bundle.temperature)
