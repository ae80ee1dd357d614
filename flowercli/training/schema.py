"""What a training configuration is made of: its keys, their types, and the values they may have.

Each key has them together; OmegaConf holds values to the types, and passes over what stands behind these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, Any, get_type_hints

from flowercli.training.limits import Choice, Limit, Numbers, Range, folder_name, not_empty, policy

# Of the folder of a run that is not finished.
SUFFIX = ".unfinished"
SHARE = Range(0, 1)


@dataclass
class ModelConfig:
    """Which timm model, and where its weights come from. ``weights`` is a path, and beats ``pretrained``."""

    name: Annotated[str, not_empty]
    pretrained: bool
    weights: Annotated[str | None, not_empty]
    image_size: Annotated[int | None, Range(32, 2048)]
    crop_pct: Annotated[float | None, Range(0.1, 1)]
    drop_rate: Annotated[float, Range(0, 0.95)]
    drop_path_rate: Annotated[float, Range(0, 0.95)]


@dataclass
class DataConfig:
    """The dataset folder, its manifest or how to split it where none is found, and how to draw from it.

    ``shards`` is what ``flowers pack`` wrote: the dataset itself, in place of ``path``.
    """

    path: Annotated[str, not_empty]
    ratios: Annotated[list[float], Numbers(3, SHARE, shares=True)]
    split_seed: Annotated[int, Range(0, 2**63 - 1)]
    stratify: bool
    sampler: Annotated[str, Choice(("shuffle", "balanced", "square_root", "three_quarters"))]
    manifest: Annotated[str | None, not_empty] = None
    outliers: Annotated[str | None, not_empty] = None
    shards: Annotated[str | None, not_empty] = None


@dataclass
class LossConfig:
    """Cross-entropy and the contrastive loss beside it."""

    label_smoothing: Annotated[float, Range(0, 0.9)]
    class_weights: Annotated[str, Choice(("none", "balanced"))]
    contrastive: Annotated[str, Choice(("none", "contrastive", "supcon", "triplet"))]
    contrastive_weight: Annotated[float, Range(0, 1e6)]
    projection_size: Annotated[int, Range(2, 65536)]
    margin: Annotated[float, Range(0, 1e6)]
    temperature: Annotated[float, Range(1e-3, 1e6)]


@dataclass
class OptimConfig:
    """Optimizer and learning-rate schedule; ``lr`` is the peak."""

    name: Annotated[str, Choice(("adam", "adamw", "sgd"))]
    lr: Annotated[float, Range(1e-9, 10)]
    head_lr_scale: Annotated[float, Range(0)]
    weight_decay: Annotated[float, Range(0, 1e6)]
    warmup_epochs: Annotated[int, Range(0)]
    freeze_epochs: Annotated[int, Range(0)]
    freeze_stages: Annotated[int, Range(0)]
    min_lr_scale: Annotated[float, SHARE]
    clip_grad_norm: Annotated[float, Range(0)]


@dataclass
class AugmentConfig:
    """Random transforms of training. ``image_size`` is that of the crops, in pixels."""

    image_size: Annotated[int | None, Range(32, 2048)]
    scale: Annotated[list[float], Numbers(2, Range(0.01, 1), rising=True)]
    ratio: Annotated[list[float], Numbers(2, Range(0.1, 10), rising=True)]
    horizontal_flip: Annotated[float, SHARE]
    vertical_flip: Annotated[float, SHARE]
    color_jitter: Annotated[float, SHARE]
    auto_augment: Annotated[str | None, policy]
    disguise: Annotated[float, SHARE]
    mixup: Annotated[float, Range(0, 1e6)]
    cutmix: Annotated[float, Range(0, 1e6)]
    mix_probability: Annotated[float, SHARE]


@dataclass
class DistillConfig:
    """Teachers whose answers the model also learns from."""

    teacher: list[str]
    weight: Annotated[float, SHARE]
    temperature: Annotated[float, Range(1e-3, 1e6)]


@dataclass
class TrackingConfig:
    """Where a run is recorded. ``uri`` is MLflow's tracking URI; ``None`` is a store beside the runs."""

    name: Annotated[str, Choice(("mlflow", "none"))]
    uri: str | None
    experiment: Annotated[str, not_empty]
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
    epochs: Annotated[int, Range(1)]
    batch_size: Annotated[int, Range(2)]
    micro_batch: Annotated[int | None, Range(2)]
    seed: Annotated[int, Range(0, 2**32 - 1)]
    device: Annotated[str, Choice(("auto", "cpu", "cuda", "mps"))]
    precision: Annotated[str, Choice(("auto", "fp32", "bf16", "fp16"))]
    num_workers: Annotated[int | None, Range(0, 512)]
    validate_every: Annotated[int, Range(1)]
    patience: Annotated[int, Range(0)]
    ema_decay: Annotated[float, Range(0, 0.99999)]
    checkpoint_minutes: Annotated[float, Range(0)]
    accept: Annotated[float, Range(0.5, 1)]
    plots: bool
    output: Annotated[str, not_empty]
    name: Annotated[str | None, folder_name] = None
    recipe: dict[str, Any] = field(default_factory=dict)


def known_keys(cls: Any = TrainConfig, prefix: str = "") -> dict[str, Limit | None]:
    """Return every dotted key of the configuration, and what its values are held to beside their type."""
    found: dict[str, Limit | None] = {}
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if is_dataclass(hint):
            found |= known_keys(hint, f"{prefix}{name}.")
        else:
            found[prefix + name] = next(iter(getattr(hint, "__metadata__", ())), None)
    return found


def out_of_range(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values of a configuration, given by dotted key, a line each."""
    for key, limit in known_keys().items():
        if limit is not None and (value := config[key]) is not None and (wrong := limit(value)):
            yield f"{key}={value}: {wrong}" if str(value).strip() else f"{key}: {wrong}"
