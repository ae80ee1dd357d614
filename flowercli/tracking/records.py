"""What is recorded of a run at its start: parameters, data, configuration, versions."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from flowercli import __version__
from flowercli.data.split import SPLITS
from flowercli.training.config import as_dict
from flowercli.training.run_folder import versions
from flowercli.training.save import git_revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowercli.data.manifest import Manifest
    from flowercli.training.schema import TrainConfig

# MLflow's limits, in characters.
PARAM_LENGTH = 6000
DIGEST_LENGTH = 36


def params(config: TrainConfig) -> dict[str, str]:
    """Return every key of the configuration by its dotted name, as text."""
    return {key: str(value)[:PARAM_LENGTH] for key, value in _flat(as_dict(config)).items()}


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


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {prefix + key: item}
    return flat
