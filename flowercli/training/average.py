"""Average the weights of several runs of one recipe into one model.

Models that were fine-tuned from the same pretrained weights lie in one basin of the loss, and the mean of their
weights answers about like the mean of their answers, at the cost of one (Wortsman et al., 2022, "Model soups").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flowercli.atomic import new_folder
from flowercli.bundle import Bundle
from flowercli.errors import UsageError
from flowercli.progress import Advance, untold
from flowercli.training.known import Known
from flowercli.training.model import load_bundle_model
from flowercli.training.predict import predict_outliers, predict_photos
from flowercli.training.save import add_validation, calibrated, write_bundle
from flowercli.training.typical import Typical, representative

if TYPE_CHECKING:
    from flowercli.evaluation.bundle_data import BundleData


def average(
    bundles: Sequence[Bundle],
    data: BundleData,
    target: Path,
    accept: float | None = None,
    advance: Advance = untold,
) -> Bundle:
    """Write a new bundle whose weights are the mean of those of others, calibrated anew on the validation split.

    Args:
        bundles: two or more, of one architecture and one split.
        data: their dataset.
        target: folder of the new bundle, which must not exist.
        accept: share of the validation photographs that the rejection threshold lets through; as the first bundle's
            configuration says by default.
        advance: called as photographs are asked about.

    Raises:
        UsageError: they do not belong together, or ``target`` exists.
        DataError: photographs are missing, or are not those of the manifest.
    """
    _check(bundles, target)
    for split in ("train", "val"):
        data.check_unchanged(split, advance)
    model = load_bundle_model(bundles[0])
    model.load_state_dict(mean_state([load_bundle_model(bundle).state_dict() for bundle in bundles]))
    val = predict_photos(model, data.root, data.photos("val"), data.manifest.class_names, advance)
    outliers = data.outliers("val")
    others = predict_outliers(model, data.outliers_root, outliers, advance).answers if outliers else None
    first = bundles[0].section
    accept = float(first["provenance"]["config"]["accept"]) if accept is None else accept
    learnt = representative(data.photos("train"))
    seen = predict_photos(model, data.root, learnt, data.manifest.class_names, advance)
    known = Known.fit(model.none_logit, val.answers, others, Typical.fit(seen.logits, seen.targets))
    section = {
        **calibrated(val, known, bundles[0].class_names, accept),
        "scientific_names": first["scientific_names"],
        "embedding_size": first["embedding_size"],
        "provenance": {**first["provenance"], "run": None, "accept": accept, "averaged": [*map(_origin, bundles)]},
    }
    with new_folder(target) as folder:
        description = {**bundles[0].config, "flowers": section}
        made = write_bundle(folder, description, model.backbone.state_dict(), data.manifest)
        add_validation(made, data.root, data.manifest, val)
    return Bundle.load(target)


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each floating-point tensor; counters are the first model's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if tensor.is_floating_point() else tensor
        for name, tensor in states[0].items()
    }


def _check(bundles: Sequence[Bundle], target: Path) -> None:
    if len(bundles) < 2:  # noqa: PLR2004
        raise UsageError("One model has no average.", hint="flowers average BUNDLE BUNDLE --output NEW")
    if target.exists():
        raise UsageError(f"{target} exists.", hint="Choose another --output.")
    for key, values in (
        ("architecture", [bundle.config["architecture"] for bundle in bundles]),
        ("classes", [bundle.class_names for bundle in bundles]),
        ("preprocess spec", [bundle.pretrained_cfg for bundle in bundles]),
        ("split", [bundle.section["provenance"]["manifest_sha256"] for bundle in bundles]),
    ):
        if any(value != values[0] for value in values):
            message = f"The bundles differ in their {key}: {values[0]} and {next(v for v in values if v != values[0])}."
            raise UsageError(message, hint="Average runs of one recipe that differ in their seed.")


def _origin(bundle: Bundle) -> dict[str, Any]:
    """Return what identifies one of the averaged models."""
    provenance = bundle.section["provenance"]
    weights = bundle.section["files"]["model.safetensors"]["sha256"]
    kept = {key: provenance[key] for key in ("git_revision", "epochs_trained", "config")}
    return {"weights_sha256": weights} | kept
