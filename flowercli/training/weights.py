"""What timm builds and loads by name: a backbone with the weights of a path, of the Hub, or of a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import timm

from flowercli.bundle import CONFIG, WEIGHTS
from flowercli.description import read_config
from flowercli.errors import BundleError, WeightsError
from flowercli.hub.client import log_nothing
from flowercli.hub.snapshot import require_repository
from flowercli.installation import install
from flowercli.shown import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from flowercli.bundle import Bundle
    from flowercli.training.schema import ModelConfig

CONFIG_FIELDS = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "first_conv", "classifier")
# Of a name, or of what went wrong, that others wrote.
SHOWN = 200


def repository(name: str) -> str | None:
    """Return the repo id of a timm model's weights on the Hub."""
    cfg = timm.models.get_pretrained_cfg(name)
    return cfg.hf_hub_id if cfg is not None else None


def from_bundle(bundle: Bundle) -> Any:
    """Create the timm model of a bundle with its weights.

    A bundle may be anybody's. timm also takes names that lead elsewhere, to the Hub or to a folder: only those of its
    own models get there.

    Raises:
        BundleError: the weights are missing, altered or damaged, or are not those of its network.
    """
    weights, name = bundle.file(WEIGHTS), bundle.config["architecture"]
    if name not in timm.list_models():
        message = f"The network of {bundle.path} is none that timm {timm.__version__} has: {one_line(name[:SHOWN])}."
        raise BundleError(message, hint=f"{install('--upgrade', 'timm')}   (if the bundle is to be trusted)")
    overlay = {"file": str(weights), **{k: v for k, v in bundle.pretrained_cfg.items() if k in CONFIG_FIELDS}}
    overlay |= {"num_classes": bundle.config["num_classes"], "hf_hub_id": None}
    try:
        return timm.create_model(
            name, pretrained=True, num_classes=bundle.config["num_classes"], pretrained_cfg_overlay=overlay
        )
    except Exception as error:  # Damaged files raise whatever their parser does; sizes of strangers, MemoryError.
        message = f"The weights of {bundle.path} cannot be loaded as {name}: {first_line(error)}"
        raise BundleError(message, hint="Fetch it again, or train it anew.") from error


def from_hub(config: ModelConfig, num_classes: int, drops: dict[str, float]) -> Any:
    """Create a timm model, with the weights that its name stands for where these are wanted.

    Raises:
        WeightsError: the weights cannot be had.
    """
    log_nothing()
    try:
        if config.pretrained and (repo_id := repository(config.name)):
            require_repository(repo_id, unless_cached=("model.safetensors", "pytorch_model.bin"))
        return timm.create_model(config.name, pretrained=config.pretrained, num_classes=num_classes, **drops)
    except Exception as error:  # The Hub's client, its HTTP library and timm raise a dozen unrelated types here.
        message = f"The ImageNet weights of {config.name} cannot be had: {first_line(error)}"
        hint = (
            "With them in a folder: model.weights=PATH. Without them: model.pretrained=false. "
            f"Or once, with a network: flowers download backbone {config.name}"
        )
        raise WeightsError(message, hint=hint) from error


def from_path(path: Path, name: str, num_classes: int, drops: dict[str, float]) -> Any:
    """Create a timm model with the weights of a folder or a file.

    Raises:
        WeightsError: there are none, or they do not fit.
    """
    if not path.exists():
        raise WeightsError(f"There are no weights at {path}.", hint="model.weights takes a folder or a file.")
    try:
        if path.is_dir():
            _check_architecture(path, name)
            return timm.create_model(f"local-dir:{path}", pretrained=True, num_classes=num_classes, **drops)
        overlay = {"file": str(path), "hf_hub_id": None}
        return timm.create_model(
            name, pretrained=True, num_classes=num_classes, pretrained_cfg_overlay=overlay, **drops
        )
    except WeightsError:
        raise
    except Exception as error:  # Damaged files raise whatever their parser does.
        message = f"The weights at {path} do not fit {name}: {first_line(error)}"
        raise WeightsError(message, hint="Choose the model they belong to: model=NAME or model.name=NAME") from error


def _check_architecture(folder: Path, name: str) -> None:
    architecture = read_config(folder / CONFIG)["architecture"]
    if architecture != name.partition(".")[0]:
        message = f"The weights in {folder} are of {architecture}, not of {name}."
        raise WeightsError(message, hint=f"flowers train model.name={architecture} model.weights={folder} …")


def first_line(error: Exception) -> str:
    """Return what an error of others says, short and as it may be shown."""
    if isinstance(error, KeyError):
        return one_line(f"{error} is missing"[:SHOWN])
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # torch says in the first what it was about, and in the second what is wrong.
    return one_line(" ".join(lines[: 2 if lines[0].endswith(":") else 1])[:SHOWN])
