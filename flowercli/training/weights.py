"""What timm builds and loads by name: a backbone with the weights of a path, of the Hub, or of a bundle."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm

from flowercli.bundle import CONFIG, WEIGHTS, Bundle
from flowercli.description import read_config
from flowercli.errors import BundleError, ConfigError, WeightsError
from flowercli.hub.client import log_nothing
from flowercli.hub.snapshot import require_repository
from flowercli.installation import install
from flowercli.shown import SHOWN, first_line, one_line
from flowercli.training.architecture import build, sized

if TYPE_CHECKING:
    from flowercli.training.schema import ModelConfig

# Not `crop_mode`: what was pretrained on squashed or padded pictures learns ours as everything here cuts them.
CONFIG_FIELDS = (
    "input_size",
    "fixed_input_size",
    "interpolation",
    "crop_pct",
    "mean",
    "std",
    "first_conv",
    "classifier",
)


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


def from_hub(config: ModelConfig, num_classes: int) -> Any:
    """Create a timm model, with the weights that its name stands for where these are wanted.

    Raises:
        WeightsError: the weights cannot be had, or do not fit.
        ConfigError: the architecture does not take what is wanted of it.
    """
    log_nothing()
    try:
        if config.pretrained and (repo_id := repository(config.name)):
            require_repository(repo_id, unless_cached=("model.safetensors", "pytorch_model.bin"))
        return _build(config.name, config, num_classes, pretrained=config.pretrained)
    except ConfigError:
        raise
    except Exception as error:  # The Hub's client, its HTTP library and timm raise a dozen unrelated types here.
        _require_buildable(config, num_classes)
        # The weights were there, and are of other shapes or names than the network's.
        if isinstance(error, RuntimeError) and "state_dict" in str(error):
            raise _misfit(f"The ImageNet weights of {config.name}", config, error) from error
        message = f"The ImageNet weights of {config.name} cannot be had: {first_line(error)}"
        hint = (
            "With them in a folder: model.weights=PATH. Without them: model.pretrained=false. "
            f"Or once, with a network: flowers download backbone {config.name}"
        )
        raise WeightsError(message, hint=hint) from error


def from_path(path: Path, config: ModelConfig, num_classes: int) -> Any:
    """Create a timm model with the weights of a folder or a file.

    Raises:
        WeightsError: there are none, or they do not fit.
        ConfigError: the architecture does not take what is wanted of it.
    """
    if not path.exists():
        raise WeightsError(f"There are no weights at {path}.", hint="model.weights takes a folder or a file.")
    try:
        if path.is_dir():
            _check_architecture(path, config.name)
            return _build(f"local-dir:{path}", config, num_classes, pretrained=True)
        return _build(config.name, config, num_classes, pretrained=True, file=str(path), hf_hub_id=None)
    except (WeightsError, ConfigError):
        raise
    except Exception as error:  # Damaged files raise whatever their parser does.
        _require_buildable(config, num_classes)
        raise _misfit(f"The weights at {path}", config, error) from error


def _build(source: str, config: ModelConfig, num_classes: int, *, pretrained: bool, **cfg: Any) -> Any:
    drops = {"drop_rate": config.drop_rate, "drop_path_rate": config.drop_path_rate}
    overlay = sized(config.name, config.image_size) | cfg
    return build(
        source, config.name, drops, pretrained=pretrained, num_classes=num_classes, pretrained_cfg_overlay=overlay
    )


def _require_buildable(config: ModelConfig, num_classes: int) -> None:
    """Raise ConfigError where a network without weights cannot be built either: then they are not the reason."""
    try:
        _build(config.name, config, num_classes, pretrained=False)
    except ConfigError:
        raise
    except Exception as error:  # Asserts, shapes, arithmetic: whatever an architecture stumbles over.
        size = "" if config.image_size is None else f" for pictures of {config.image_size} pixels"
        hint = "Choose another: flowers train --model NAME …" if not size else "flowers train model.image_size=null …"
        raise ConfigError(f"{config.name} cannot be built{size}: {first_line(error)}", hint=hint) from error


def _misfit(what: str, config: ModelConfig, error: Exception) -> WeightsError:
    size = "" if config.image_size is None else f" at {config.image_size} pixels"
    message = f"{what} do not fit {config.name}{size}: {first_line(error)}"
    hint = "Choose the model they belong to: model=NAME or model.name=NAME" if not size else "model.image_size=null"
    return WeightsError(message, hint=hint)


def _check_architecture(folder: Path, name: str) -> None:
    architecture = read_config(folder / CONFIG)["architecture"]
    if architecture != name.partition(".")[0]:
        message = f"The weights in {folder} are of {architecture}, not of {name}."
        fitting = shlex.join(["flowers", "train", f"model.name={architecture}", f"model.weights={folder}"])
        raise WeightsError(message, hint=f"{fitting} …")
