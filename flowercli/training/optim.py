"""Optimizer and learning-rate schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from flowercli.training.model import PixelClassifier
    from flowercli.training.schema import OptimConfig


def make_optimizer(config: OptimConfig, model: PixelClassifier, criterion: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer: the new layers learn faster, and biases and norms do not decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    new = {id(parameter) for parameter in (*model.new_parameters(), *criterion.parameters())}
    for parameter in (*model.parameters(), *criterion.parameters()):
        if parameter.requires_grad:
            scale = config.head_lr_scale if id(parameter) in new else 1.0
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    parameters = [
        {"params": members, "lr": config.lr * scale, "weight_decay": decay}
        for (scale, decay), members in groups.items()
    ]
    return _optimizer(config.name, parameters)


def make_schedule(config: OptimConfig, optimizer: torch.optim.Optimizer, epochs: int, steps_per_epoch: int) -> LambdaLR:
    """Return the schedule: a linear warm-up, then half a cosine down to ``min_lr_scale``, step by step."""
    warmup = min(config.warmup_epochs, epochs - 1) * steps_per_epoch
    total = epochs * steps_per_epoch

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(total - warmup, 1)
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
        return config.min_lr_scale + (1 - config.min_lr_scale) * cosine

    return LambdaLR(optimizer, scale)


def _optimizer(name: str, parameters: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(parameters) if name == "adamw" else torch.optim.Adam(parameters)
