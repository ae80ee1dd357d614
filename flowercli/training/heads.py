"""The layers of a timm model that make logits of its embedding: one in most architectures, some have others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from flowercli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


def head_of(backbone: Any) -> nn.Module:
    """Return the classifier of a timm model as one module; some have several layers, whose logits are added up."""
    head = backbone.get_classifier()
    layers = list(head) if isinstance(head, list | tuple) else [head]
    # VOLO's other one, of the patches, is no part of what it calls its classifier.
    if isinstance(patches := getattr(backbone, "aux_head", None), nn.Linear):
        layers.append(patches)
    return layers[0] if len(layers) == 1 else nn.ModuleList(layers)


def output_layers(backbone: Any) -> list[nn.Module]:
    """Return the layers of a classifier whose weights have a row a class: linear ones, or convolutions of a pixel."""
    layers = [layer for layer in head_of(backbone).modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return [layer for layer in layers if layer.weight.shape[0] == backbone.num_classes]


def require_classifier(backbone: Any, name: str) -> None:
    """Raise ConfigError where a network of timm is an encoder only."""
    if not (hasattr(backbone, "forward_head") and hasattr(backbone, "get_classifier") and output_layers(backbone)):
        hint = "Choose another: flowers train --model NAME …"
        raise ConfigError(f"{name} is no classifier: timm has it without a layer of classes.", hint=hint)


def reset_head(head: nn.Module) -> None:
    """Start the new classifier near zero, so that training starts from even odds.

    timm's own start for the EfficientNet family is uniform within 1/sqrt(classes), meant for a thousand of
    them: with five, the first logits are about ±3, and what it takes to unlearn them damages the backbone.
    """
    for layer in head.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def copy_classes(ours: Any, theirs: Any, here: Sequence[int], there: Sequence[int]) -> None:
    """Set rows of one timm model's classifier to rows of another's, of the same architecture."""
    for layer, other in zip(output_layers(ours), output_layers(theirs), strict=True):
        for name, parameter in layer.named_parameters():
            parameter[here] = other.get_parameter(name)[there]


def keep_classes(backbone: Any, indices: Sequence[int]) -> None:
    """Leave a timm model the logits of these classes alone, in this order."""
    for layer in output_layers(backbone):
        for name, parameter in list(layer.named_parameters()):  # A weight [C, …] and a bias [C].
            setattr(layer, name, nn.Parameter(parameter.detach()[list(indices)]))
    backbone.num_classes = len(indices)
