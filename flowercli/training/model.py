"""The network: a timm backbone with its classifier, fed with ``uint8`` pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import Tensor, nn

from flowercli.bundle import CONFIG, WEIGHTS, Bundle
from flowercli.description import read_config
from flowercli.errors import BundleError, WeightsError
from flowercli.inference.preprocess import PreprocessSpec
from flowercli.installed import find
from flowercli.shown import SHOWN, one_line
from flowercli.training.architecture import copy_classes, head_of, keep_classes, require_classifier, reset_head
from flowercli.training.device import honour_limits
from flowercli.training.known import Known, Line, NoneLogit
from flowercli.training.weights import CONFIG_FIELDS, from_bundle, from_hub, from_path, repository

if TYPE_CHECKING:
    from flowercli.training.schema import ModelConfig


class PixelClassifier(nn.Module):
    """A timm model that normalises pixels itself and returns logits and the pooled embedding.

    The same module trains, evaluates and is exported, so normalisation exists once. One that ``refuses`` has a layer
    besides, from the embedding to the logit of "none of these"; the backbone stays one that timm can load.
    """

    def __init__(self, backbone: Any, cfg: Mapping[str, Any], *, refuses: bool = False) -> None:
        super().__init__()
        # Any: what timm's models have in common beyond nn.Module is not in their types.
        self.backbone: Any = backbone
        self.spec = PreprocessSpec.from_pretrained_cfg(dict(cfg))
        self.input_size = (self.spec.height, self.spec.width)
        # Buffers in units of 0…255, so that one subtraction and one product normalise a pixel.
        self.mean: Tensor
        self.scale: Tensor
        self.none: nn.Linear | None = nn.Linear(self.embedding_size, 1) if refuses else None
        if self.none is not None:
            reset_head(self.none)
        mean, std = (torch.tensor(values).mul(255).view(1, 3, 1, 1) for values in (self.spec.mean, self.spec.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("scale", std.reciprocal(), persistent=False)

    @property
    def num_classes(self) -> int:
        """Number of classes, C."""
        return int(self.backbone.num_classes)

    @property
    def embedding_size(self) -> int:
        """Size of the pooled embedding, D."""
        return int(self.backbone.head_hidden_size)

    @property
    def classifier(self) -> nn.Module:
        """The head: a linear layer from embedding to logits, or whatever the architecture has instead of one."""
        return head_of(self.backbone)

    def new_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that did not come from the pretrained weights."""
        yield from self.classifier.parameters()
        if self.none is not None:
            yield from self.none.parameters()

    @property
    def none_logit(self) -> NoneLogit | None:
        """The layer of "none of these" as numbers; ``None`` for a model that was trained without outliers."""
        if self.none is None:
            return None
        weight = self.none.weight.detach().float().cpu().numpy()[0]
        return NoneLogit(weight, float(self.none.bias.item()))

    def freeze_backbone(self, *, frozen: bool, stages: int = 0) -> None:
        """Stop or let learn everything but the classifier, or the first stages; what is frozen is in evaluation mode.

        Args:
            frozen: everything but the classifier.
            stages: so many groups of layers as timm counts them, the stem being the first.
        """
        fixed = first_stages(self.backbone, stages)
        head = {id(parameter) for parameter in self.classifier.parameters()}
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(id(parameter) in head or not (frozen or name in fixed))
        if frozen:
            self.backbone.eval()  # Also what has no weights, such as dropout.
        for module in self.backbone.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()  # Batch normalisation keeps its statistics, and no path is dropped.

    def take_over(self, earlier: PixelClassifier, theirs: list[str], ours: list[str]) -> None:
        """Start from what another model's classifier learnt: the classes of the same name, and "none of these".

        Args:
            earlier: a model with the same backbone.
            theirs: its class names.
            ours: the class names of this one.
        """
        shared = [name for name in ours if name in theirs]
        here, there = [ours.index(name) for name in shared], [theirs.index(name) for name in shared]
        copy_classes(self.backbone, earlier.backbone, here, there)
        if self.none is not None and earlier.none is not None:
            self.none.load_state_dict(earlier.none.state_dict())

    def keep_classes(self, indices: list[int]) -> None:
        """Answer with the logits of these classes alone, in this order, as a teacher of fewer classes does."""
        keep_classes(self.backbone, indices)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Classify a batch.

        Args:
            pixels: ``[N, 3, H, W]``, values 0…255, any dtype.

        Returns:
            Logits ``[N, C]`` and embedding ``[N, D]``.
        """
        return self.answer(self.normalised(pixels).contiguous(memory_format=torch.channels_last))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return pixels ``[N, 3, H, W]`` as the backbone takes them."""
        return (pixels.float() - self.mean) * self.scale

    def with_none(self, logits: Tensor, embedding: Tensor) -> Tensor:
        """Return logits ``[N, C]`` with that of "none of these" behind them, ``[N, C + 1]``, if there is one."""
        return logits if self.none is None else torch.cat([logits, self.none(embedding)], dim=1)

    def answer(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[N, C]`` and embedding ``[N, D]`` of normalised pixels, whatever their order in memory."""
        features = self.backbone.forward_features(normalised)
        embedding = self.backbone.forward_head(features, pre_logits=True)
        head = self.classifier
        # What is more than a linear layer may have to see more than the embedding, and the architecture knows how.
        return head(embedding) if isinstance(head, nn.Linear) else self.backbone.forward_head(features), embedding


def first_stages(backbone: Any, count: int) -> set[str]:
    """Return the names of the parameters in the first groups of layers of a timm model, the stem being the first."""
    if count == 0:
        return set()
    groups = timm.models.group_parameters(backbone, backbone.group_matcher(coarse=True), reverse=True)
    return {name for name, group in groups.items() if group < count}


def create_backbone(config: ModelConfig, num_classes: int) -> Any:
    """Create the timm model with its pretrained weights and a fresh classifier.

    Raises:
        WeightsError: the name is unknown to timm, or the weights cannot be had.
        ConfigError: the architecture does not take what is wanted of it, or is no classifier.
    """
    _require_known(config)
    if config.weights is not None:
        backbone = from_path(Path(config.weights).expanduser(), config, num_classes)
    elif config.pretrained and (weights := downloaded_weights(config.name)) is not None:
        backbone = from_path(weights, config, num_classes)
    else:
        backbone = from_hub(config, num_classes)
    require_classifier(backbone, config.name)
    reset_head(head_of(backbone))
    return backbone


def _require_known(config: ModelConfig) -> None:
    """Raise WeightsError where timm has no such architecture, or no such weights for it."""
    architecture, _, tag = config.name.partition(".")
    if architecture not in timm.list_models():
        near = timm.list_models(f"*{architecture[:6]}*")[:5]
        message = f"timm has no model '{one_line(config.name[:SHOWN])}'."
        raise WeightsError(message, hint=f"Similar names: {', '.join(near)}" if near else None)
    try:
        timm.models.get_pretrained_cfg(config.name)
    except RuntimeError as error:
        message = f"timm knows no weights '{one_line(tag[:SHOWN])}' of {architecture}."
        known = ", ".join(timm.list_pretrained(f"{architecture}.*"))
        raise WeightsError(
            message, hint=f"It knows {known}." if known else f"flowers train --model {architecture} …"
        ) from error


def trained_before(config: ModelConfig) -> Bundle | None:
    """Return the bundle whose weights a new run starts from; ``None`` where they are no bundle's.

    Raises:
        BundleError: it is damaged.
    """
    folder = Path(config.weights).expanduser() if config.weights is not None else None
    if folder is None or not (folder / CONFIG).exists():
        return None
    # timm's own folders have a file of that name too.
    ours = "flowers" in read_config(folder / CONFIG)
    return Bundle.load(folder) if ours else None


def downloaded_weights(name: str) -> Path | None:
    """Return the weights of a timm model that ``flowers download backbone`` fetched, or ``None``."""
    # A name without a tag means timm's choice of weights, which its own address on the Hub spells out.
    repo_id = repository(name)
    entry = find("backbone", repo_id) if repo_id else None
    return None if entry is None else entry.path / WEIGHTS


def load_bundle_model(bundle: Bundle) -> PixelClassifier:
    """Rebuild the trained model of a bundle, in evaluation mode.

    Raises:
        BundleError: the weights are missing, altered or damaged, or do not fit what the bundle says of them.
    """
    honour_limits()
    PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)  # Refused before the network is built.
    none = known_of(bundle).none
    backbone = from_bundle(bundle)
    if getattr(backbone, "head_hidden_size", None) != _embedding_size(bundle):
        raise BundleError(f"The description in {bundle.path} is damaged: embedding_size is not that of its network.")
    model = PixelClassifier(backbone, bundle.pretrained_cfg, refuses=none is not None)
    if none is not None:
        assert model.none is not None
        model.none.load_state_dict({"weight": torch.tensor(none.weight)[None], "bias": torch.tensor([none.bias])})
    return model.eval()


def known_of(bundle: Bundle) -> Known:
    """Return how a bundle's model tells whether it knows what it sees; one made before there was that, by its logits.

    Raises:
        BundleError: what the bundle says of it is damaged.
    """
    stored = bundle.section.get("known")
    known = Known(Line(1.0, 0.0)) if stored is None else Known.from_json(stored, _embedding_size(bundle))
    if known.typical is not None and len(known.typical.centre) != bundle.config["num_classes"]:
        raise BundleError(f"The description in {bundle.path} is damaged: known is of another number of classes.")
    return known


def _embedding_size(bundle: Bundle) -> int:
    size: int | None = bundle.section.get("embedding_size")
    if size is None:
        raise BundleError(f"The description in {bundle.path} is incomplete: embedding_size missing.")
    return size


def resolved_cfg(backbone: Any, config: ModelConfig, num_classes: int) -> dict[str, Any]:
    """Return the ``pretrained_cfg`` of the new bundle: what the model says, overridden by the configuration."""
    said: dict[str, Any] = backbone.pretrained_cfg
    cfg = {key: said[key] for key in CONFIG_FIELDS if said.get(key) not in (None, False)}
    size = config.image_size
    if size is not None:
        cfg["input_size"] = (3, size, size)
    if config.crop_pct is not None:
        cfg["crop_pct"] = config.crop_pct
    cfg = {key: list(value) if isinstance(value, tuple) else value for key, value in cfg.items()}
    return cfg | {"num_classes": num_classes}
