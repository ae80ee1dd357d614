"""What is recorded of a run: at its start parameters, data, configuration, versions, and metrics at its end."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf

from flowercli import __version__
from flowercli.data.split import SPLITS
from flowercli.training.config import as_dict, by_dotted_key
from flowercli.training.run_folder import versions
from flowercli.training.save import git_revision

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.training.schema import TrainConfig


# MLflow's limits, in characters.
PARAM_LENGTH = 6000
DIGEST_LENGTH = 36

# What MLflow takes in a name besides letters and digits, and how long one may be with what goes before.
NOT_IN_A_NAME = re.compile(r"[^\w. -]")
NAME_LENGTH = 200
OF_A_CLASS = ("f1", "precision", "recall")


def params(config: TrainConfig) -> dict[str, str]:
    """Return every key of the configuration by its dotted name, as text."""
    return {key: str(value)[:PARAM_LENGTH] for key, value in by_dotted_key(as_dict(config)).items()}


def config_text(config: TrainConfig) -> str:
    """Return the composed configuration as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(as_dict(config)))


def tags() -> dict[str, str]:
    """Return the git revision and the versions of what the result depends on."""
    packages = versions() | {"mlflow": importlib.metadata.version("mlflow"), "flowercli": __version__}
    found = {f"version.{name}": version for name, version in packages.items()}
    found |= {"mlflow.source.name": "flowers train", "mlflow.source.type": "LOCAL"}
    revision = git_revision()
    if revision is not None:
        found |= {"git_revision": revision, "mlflow.source.git.commit": revision.removesuffix("-dirty")}
    return found


def inputs(config: TrainConfig, manifest: Manifest) -> list[dict[str, str]]:
    """Return the splits and the split manifest as MLflow's dataset inputs.

    Each split is an input of its own name, because MLflow keeps one context an input. The digest is the
    beginning of the sha256 of the whole dataset; the profile has all of it.
    """
    root = Path(config.data.path).resolve()
    hashes = {"dataset_sha256": manifest.dataset_sha256, "manifest_sha256": manifest.sha256}
    found = []
    for split in SPLITS:
        counts = manifest.counts(split)
        profile = {"num_rows": sum(counts.values()), "photos": counts, **hashes}
        found.append(_input(f"{root.name}-{split}", manifest.dataset_sha256, root, profile, split))
    profile = {"num_rows": len(manifest.photos), "seed": manifest.seed, "ratios": manifest.ratios, **hashes}
    return [*found, _input(f"{root.name}-split-manifest", manifest.sha256, root, profile, "manifest")]


def _input(name: str, sha256: str, root: Path, profile: Mapping[str, Any], context: str) -> dict[str, str]:
    return {
        "name": name,
        "digest": sha256[:DIGEST_LENGTH],
        "source_type": "local",
        "source": json.dumps({"uri": str(root)}),
        "profile": json.dumps(profile),
        "context": context,
    }


def final_metrics(split: str, metrics: Mapping[str, Any], variant: str = "torch") -> dict[str, float]:
    """Return accuracy, macro F1, macro precision and macro recall of a split; of the weights also those of each class.

    A class that is neither there nor named counts in no mean, as in scikit-learn's; one that is not there has none.

    Args:
        split: ``val`` or ``test``, with which every name begins.
        metrics: as ``evaluate`` returns them.
        variant: what was asked; the weights go without saying.
    """
    prefix = split if variant == "torch" else f"{split}/{variant}"
    per_class: Mapping[str, Mapping[str, Any]] = metrics["per_class"]
    matrix = np.array(metrics["confusion_matrix"])
    counted = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    values = {f"{prefix}/accuracy": _number(metrics["accuracy"])}
    for key in OF_A_CLASS:
        of_all = [_number(entry[key]) for entry in per_class.values()]
        values[f"{prefix}/macro_{key}"] = float(np.mean([of_all[index] for index in counted]))
    for name, entry in zip(_plain(list(per_class)), per_class.values(), strict=True):
        if entry["support"] and variant == "torch":
            values |= {f"{prefix}/{key}/{name}": _number(entry[key]) for key in OF_A_CLASS}
    return values


def recorded(section: Mapping[str, Any], splits: Sequence[str]) -> dict[str, float]:
    """Return the metrics of a bundle's weights on those of the splits that its description has metrics of."""
    found: dict[str, float] = {}
    for split in splits:
        if metrics := section.get("metrics", {}).get(split, {}).get("torch"):
            found |= final_metrics(split, metrics)
    return found


def in_parts(values: Mapping[str, float], most: int) -> Iterator[dict[str, float]]:
    """Yield the values, at most so many at a time."""
    pairs = list(values.items())
    for start in range(0, len(pairs), most):
        yield dict(pairs[start : start + most])


def _number(value: Any) -> float:
    return float(value["value"] if isinstance(value, dict) else value)


def _plain(class_names: Sequence[str]) -> list[str]:
    """Return class names in the letters that MLflow takes, each another."""
    plain: list[str] = []
    for index, class_name in enumerate(class_names):
        name = NOT_IN_A_NAME.sub("_", class_name)[:NAME_LENGTH]
        plain.append(f"{name}-{index}" if name in plain or not name.strip(". ") else name)
    return plain
