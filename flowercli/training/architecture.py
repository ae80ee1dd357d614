"""What an architecture of timm takes: it is asked, by building it and by showing it a picture; and its classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import nn

from flowercli.errors import ConfigError
from flowercli.shown import first_line

if TYPE_CHECKING:
    from flowercli.training.model import PixelClassifier
    from flowercli.training.schema import TrainConfig


def build(source: str, name: str, drops: Mapping[str, float], **options: Any) -> Any:
    """Create a timm model with those of the rates of ``drops`` that its architecture knows.

    Some take none and fail, and nothing but the attempt tells: entry points hand on what they are given.

    Args:
        source: what timm creates, a name or a folder (``local-dir:…``).
        name: what it is called in what is said of it.
        drops: arguments by their names, those of the configuration's ``model``.
        options: what timm is given besides.

    Raises:
        ConfigError: a rate above zero is wanted that the architecture does not have.
        Exception: whatever timm raises.
    """
    given = dict(drops)
    while True:
        try:
            return timm.create_model(source, **options, **given)
        except TypeError as error:
            unknown = next((argument for argument in given if f"'{argument}'" in str(error)), None)
            if unknown is None:
                raise
            if given.pop(unknown):
                raise ConfigError(f"{name} has no {unknown}.", hint=f"flowers train model.{unknown}=0 …") from error


def sized(name: str, image_size: int | None) -> dict[str, Any]:
    """Return the part of timm's ``pretrained_cfg`` that tells an architecture which pictures it will see.

    One whose weights depend on their size is built for it; the others take any.
    """
    cfg = timm.models.get_pretrained_cfg(name.partition(".")[0])
    overlay: dict[str, Any] = {} if image_size is None else {"input_size": (3, image_size, image_size)}
    return overlay | ({"fixed_input_size": True} if cfg is not None and cfg.fixed_input_size else {})


@torch.inference_mode()
def try_out(model: PixelClassifier, config: TrainConfig) -> None:
    """Show a model that will be trained two pictures of each size that it will see.

    Raises:
        ConfigError: it does not take them, or does not answer as a classifier does.
    """
    crop = config.augment.image_size
    sizes = {model.input_size: "model"} | ({} if crop is None else {(crop, crop): "augment"})
    model.eval()
    for (height, width), group in sizes.items():
        try:
            logits, embedding = model(torch.zeros(2, 3, height, width))
        except Exception as error:  # What an architecture says of a size is its own affair.
            message = f"{config.model.name} does not take pictures of {height}x{width} pixels: {first_line(error)}"
            raise ConfigError(message, hint=_other_size(model, config, group)) from error
        if (logits.shape, embedding.shape) != ((2, model.num_classes), (2, model.embedding_size)):
            shapes = f"{list(logits.shape)} and {list(embedding.shape)}"
            message = f"{config.model.name} is no classifier as this program takes them: it answers with {shapes}."
            raise ConfigError(message, hint="Choose another: flowers train --model NAME …")


def _other_size(model: PixelClassifier, config: TrainConfig, group: str) -> str | None:
    if getattr(config, group).image_size is None:
        return "Choose another: flowers train --model NAME …"
    if group == "augment":
        return f"flowers train augment.image_size=null …   (crops of {model.input_size[0]} pixels, as it answers about)"
    said = timm.models.get_pretrained_cfg(config.model.name.partition(".")[0])
    return f"flowers train model.image_size=null …   (its own are of {said.input_size[1]} pixels)"


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
