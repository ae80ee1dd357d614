"""What a training configuration is made of: its keys, their types, and the values they may have."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any


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
    num_workers: int
    validate_every: int
    patience: int
    ema_decay: float
    checkpoint_minutes: float
    accept: float
    plots: bool
    output: str
    name: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)


CHOICES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "data.sampler": ("shuffle", "balanced", "square_root", "three_quarters"),
    "loss.class_weights": ("none", "balanced"),
    "loss.contrastive": ("none", "contrastive", "supcon", "triplet"),
    "optim.name": ("adam", "adamw", "sgd"),
    "tracking.name": ("mlflow", "none"),
}
# Inclusive bounds; None is open.
RANGES: dict[str, tuple[float | None, float | None]] = {
    "epochs": (1, None),
    "batch_size": (2, None),
    "micro_batch": (2, None),
    "checkpoint_minutes": (0, None),
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
    "optim.freeze_epochs": (0, None),
    "optim.freeze_stages": (0, None),
    "optim.min_lr_scale": (0, 1),
    "optim.clip_grad_norm": (0, None),
    "augment.image_size": (32, 2048),
    "augment.horizontal_flip": (0, 1),
    "augment.vertical_flip": (0, 1),
    "augment.color_jitter": (0, 1),
    "augment.disguise": (0, 1),
    "augment.mixup": (0, None),
    "augment.cutmix": (0, None),
    "augment.mix_probability": (0, 1),
    "distill.weight": (0, 1),
    "distill.temperature": (1e-3, None),
}


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
