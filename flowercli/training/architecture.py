"""What an architecture of timm takes: it is asked, by building it and by showing it a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import timm
import torch

from flowercli.errors import ConfigError
from flowercli.shown import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping

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
