"""The training configuration: Hydra composes it from ``configs/``, these dataclasses check it.

Unknown keys, wrong types and values out of range are refused before anything is read or written.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowercli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT_CONFIG = "train"


@dataclass
class ModelConfig:
    """Which timm model, and where its weights come from. ``weights`` is a path, and beats ``pretrained``."""

    name: str
    pretrained: bool
    weights: str | None
    image_size: int | None
    crop_pct: float | None
    drop_rate: float
    drop_path_rate: float


@dataclass
class DataConfig:
    """The dataset folder, and how to split it where no manifest is found."""

    path: str
    ratios: list[float]
    split_seed: int
    stratify: bool


@dataclass
class LossConfig:
    """Cross-entropy and the contrastive loss beside it."""

    label_smoothing: float
    contrastive: str
    contrastive_weight: float
    projection_size: int
    margin: float
    temperature: float


@dataclass
class OptimConfig:
    """Optimizer and learning-rate schedule; ``lr`` is the peak."""

    name: str
    lr: float
    head_lr_scale: float
    weight_decay: float
    warmup_epochs: int
    min_lr_scale: float
    clip_grad_norm: float


@dataclass
class AugmentConfig:
    """Random transforms of training. ``image_size`` is that of the crops, in pixels."""

    image_size: int | None
    scale: list[float]
    ratio: list[float]
    horizontal_flip: float
    vertical_flip: float
    color_jitter: float
    auto_augment: str | None
    mixup: float
    cutmix: float
    mix_probability: float


@dataclass
class DistillConfig:
    """Teachers whose answers the model also learns from."""

    teacher: list[str]
    weight: float
    temperature: float


@dataclass
class TrackingConfig:
    """Where a run is recorded. ``uri`` is MLflow's tracking URI; ``None`` is a store beside the runs."""

    name: str
    uri: str | None
    experiment: str
    system_metrics: bool


@dataclass
class TrainConfig:
    """Everything that decides a training run."""

    model: ModelConfig
    data: DataConfig
    loss: LossConfig
    optim: OptimConfig
    augment: AugmentConfig
    distill: DistillConfig
    tracking: TrackingConfig
    epochs: int
    batch_size: int
    seed: int
    device: str
    precision: str
    num_workers: int
    validate_every: int
    patience: int
    ema_decay: float
    accept: float
    output: str
    recipe: dict[str, Any] = field(default_factory=dict)


CHOICES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "loss.contrastive": ("none", "contrastive", "supcon"),
    "optim.name": ("adam", "adamw", "sgd"),
    "tracking.name": ("mlflow", "none"),
}
# Inclusive bounds; None is open.
RANGES: dict[str, tuple[float | None, float | None]] = {
    "epochs": (1, None),
    "batch_size": (2, None),
    "num_workers": (0, None),
    "validate_every": (1, None),
    "patience": (0, None),
    "ema_decay": (0, 0.99999),
    "accept": (0.5, 1),
    "seed": (0, 2**32 - 1),
    "model.image_size": (32, 2048),
    "model.crop_pct": (0.1, 1),
    "model.drop_rate": (0, 0.95),
    "model.drop_path_rate": (0, 0.95),
    "loss.label_smoothing": (0, 0.9),
    "loss.contrastive_weight": (0, None),
    "loss.projection_size": (2, None),
    "loss.temperature": (1e-3, None),
    "optim.lr": (1e-9, 10),
    "optim.head_lr_scale": (0, None),
    "optim.weight_decay": (0, None),
    "optim.warmup_epochs": (0, None),
    "optim.min_lr_scale": (0, 1),
    "optim.clip_grad_norm": (0, None),
    "augment.image_size": (32, 2048),
    "augment.horizontal_flip": (0, 1),
    "augment.vertical_flip": (0, 1),
    "augment.color_jitter": (0, 1),
    "augment.mixup": (0, None),
    "augment.cutmix": (0, None),
    "augment.mix_probability": (0, 1),
    "distill.weight": (0, 1),
    "distill.temperature": (1e-3, None),
}


def config_dir() -> Path:
    """Return the folder of the packaged configs: inside the wheel, or ``configs/`` of a source checkout."""
    packaged = Path(str(resources.files("flowercli"))) / "configs"
    return packaged if packaged.is_dir() else packaged.parent.parent / "configs"


def compose_config(overrides: Sequence[str]) -> TrainConfig:
    """Compose and check the configuration.

    Args:
        overrides: in Hydra's grammar, for example ``model=rexnet_150`` or ``optim.lr=1e-3``.

    Raises:
        ConfigError: an override does not parse, names an unknown key or option, or has a wrong value.
    """
    try:
        with initialize_config_dir(str(config_dir().resolve()), version_base="1.3"):
            composed = compose(ROOT_CONFIG, overrides=list(overrides))
        merged = OmegaConf.merge(OmegaConf.structured(TrainConfig), composed)
        config = OmegaConf.to_object(merged)
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error) from error
    assert isinstance(config, TrainConfig)
    _check_values(config)
    return config


def as_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain containers, as the bundle records it."""
    container = OmegaConf.to_container(OmegaConf.structured(config), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "recipe"}


def _check_values(config: TrainConfig) -> None:
    flat = DictConfig(as_dict(config))
    problems = [
        f"{key}={value}: choose one of {', '.join(options)}"
        for key, options in CHOICES.items()
        if (value := OmegaConf.select(flat, key)) not in options
    ]
    for key, (low, high) in RANGES.items():
        value = OmegaConf.select(flat, key)
        if value is not None and not _within(value, low, high):
            problems.append(f"{key}={value}: {_range_text(low, high)}")
    if problems:
        raise ConfigError("The configuration has values out of range:\n  " + "\n  ".join(problems))


def _within(value: float, low: float | None, high: float | None) -> bool:
    # Written so that NaN is outside every range.
    return (low is None or value >= low) and (high is None or value <= high) and value == value  # noqa: PLR0124


def _range_text(low: float | None, high: float | None) -> str:
    return f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"


def known_keys(cls: type = TrainConfig, prefix: str = "") -> list[str]:
    """Return every dotted key of the configuration."""
    keys = []
    for entry in fields(cls):
        nested = globals().get(str(entry.type))
        if isinstance(nested, type) and is_dataclass(nested):
            keys += known_keys(nested, f"{prefix}{entry.name}.")
        else:
            keys.append(prefix + entry.name)
    return keys


def _explain(error: Exception) -> ConfigError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines) or type(error).__name__
    unknown = re.search(r"Could not override '([^']+)'|full_key: (\S+)", text)
    hint = "flowers train --help lists the groups and common options."
    if unknown:
        key = unknown.group(1) or unknown.group(2)
        if key not in known_keys():
            near = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.5)
            suggestion = f" Did you mean '{near[0]}'?" if near else ""
            return ConfigError(f"The configuration has no key '{key}'.{suggestion}", hint=hint)
        lines[0] = f"{key}: {lines[0]}"
    return ConfigError(f"The configuration is wrong: {lines[0] if lines else text}", hint=hint)
