"""What a training configuration is made of: its keys, their types, and the values they may have."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

# Of the folder of a run that is not finished.
SUFFIX = ".unfinished"


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
    """The dataset folder, its manifest or how to split it where none is found, and how to draw from it."""

    path: str
    ratios: list[float]
    split_seed: int
    stratify: bool
    sampler: str
    manifest: str | None = None
    outliers: str | None = None


@dataclass
class LossConfig:
    """Cross-entropy and the contrastive loss beside it."""

    label_smoothing: float
    class_weights: str
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
    freeze_epochs: int
    freeze_stages: int
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
    disguise: float
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
    micro_batch: int | None
    seed: int
    device: str
    precision: str
    num_workers: int | None
    validate_every: int
    patience: int
    ema_decay: float
    checkpoint_minutes: float
    accept: float
    plots: bool
    output: str
    name: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)


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
