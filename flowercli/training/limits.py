"""Which values the keys of a training configuration may have: all that can be told without reading a photograph."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHOICES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "data.sampler": ("shuffle", "balanced", "square_root", "three_quarters"),
    "loss.class_weights": ("none", "balanced"),
    "loss.contrastive": ("none", "contrastive", "supcon", "triplet"),
    "optim.name": ("adam", "adamw", "sgd"),
    "tracking.name": ("mlflow", "none"),
}
# Inclusive bounds; None is open. Of numbers with a fraction, only finite ones are within any.
RANGES: dict[str, tuple[float, float | None]] = {
    "epochs": (1, None),
    "batch_size": (2, None),
    "micro_batch": (2, None),
    "checkpoint_minutes": (0, None),
    "num_workers": (0, 512),
    "validate_every": (1, None),
    "patience": (0, None),
    "ema_decay": (0, 0.99999),
    "accept": (0.5, 1),
    "seed": (0, 2**32 - 1),
    "data.split_seed": (0, 2**63 - 1),
    "model.image_size": (32, 2048),
    "model.crop_pct": (0.1, 1),
    "model.drop_rate": (0, 0.95),
    "model.drop_path_rate": (0, 0.95),
    "loss.label_smoothing": (0, 0.9),
    "loss.contrastive_weight": (0, 1e6),
    "loss.projection_size": (2, 65536),
    "loss.margin": (0, 1e6),
    "loss.temperature": (1e-3, 1e6),
    "optim.lr": (1e-9, 10),
    "optim.head_lr_scale": (0, None),
    "optim.weight_decay": (0, 1e6),
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
    "augment.mixup": (0, 1e6),
    "augment.cutmix": (0, 1e6),
    "augment.mix_probability": (0, 1),
    "distill.weight": (0, 1),
    "distill.temperature": (1e-3, 1e6),
}


class Numbers(NamedTuple):
    """What a list of numbers must be: so many, each within inclusive bounds, rising, or adding up to one."""

    length: int
    low: float
    high: float
    rising: bool = False
    shares: bool = False


LISTS = {
    "augment.scale": Numbers(2, 0.01, 1, rising=True),
    "augment.ratio": Numbers(2, 0.1, 10, rising=True),
    "data.ratios": Numbers(3, 0, 1, shares=True),
}
# A folder's name and a model's are no text that is empty; null is how to leave one open.
TEXTS = ("data.path", "data.manifest", "data.outliers", "model.name", "model.weights", "output", "tracking.experiment")
# timm's grammar, which passes over what it does not know: the policy, and what each of its letters may be.
UNIT, COUNT, FLAG = (0.0, 1.0), (1.0, 20.0), (0.0, 1.0)
MAGNITUDE, NOISE = (0.0, 10.0), (0.0, 1000.0)
POLICY = {"mstd": NOISE}
AUTO_AUGMENT: dict[str, dict[str, tuple[float, float]]] = {
    "rand": {"m": MAGNITUDE, "n": COUNT, "p": UNIT, "mstd": NOISE, "mmax": (1, 10), "inc": FLAG},
    "augmix": {"m": MAGNITUDE, "w": COUNT, "d": COUNT, "a": (0.01, 1000.0), "b": FLAG, "mstd": NOISE},
    "original": POLICY,
    "originalr": POLICY,
    "v0": POLICY,
    "v0r": POLICY,
    "3a": POLICY,
}
FRACTIONS = frozenset({"p", "mstd", "a"})
# What rand chooses its operations from.
OPERATIONS = ("tweights", "t3a", "t3aw")
SECTION = re.compile(r"(?P<key>[a-z]+)(?P<value>\d+(\.\d+)?)", re.ASCII)


def out_of_range(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values of a configuration, a line each.

    Args:
        config: its values by dotted key.
    """
    for key, options in CHOICES.items():
        if config[key] not in options:
            yield f"{key}={config[key]}: choose one of {', '.join(options)}"
    for key, (low, high) in RANGES.items():
        value = config[key]
        if value is not None and not _within(value, low, high):
            yield f"{key}={value}: {'' if _is_finite(value) else 'a finite number, '}{_range_text(low, high)}"
    for key, wanted in LISTS.items():
        if not _fits(config[key], wanted):
            yield f"{key}={config[key]}: {_list_text(wanted)}"
    yield from _wrong_texts(config)


def _wrong_texts(config: Mapping[str, Any]) -> Iterator[str]:
    for key in TEXTS:
        if config[key] is not None and not config[key].strip():
            yield f"{key}: empty"
    if (name := config["name"]) is not None and not _is_folder_name(name):
        yield f"name={name}: the name of a folder in output, not a path"
    if (policy := config["augment.auto_augment"]) is not None and (wrong := _wrong_policy(policy)):
        yield f"augment.auto_augment={policy}: {wrong}"


def _within(value: float, low: float, high: float | None) -> bool:
    return _is_finite(value) and value >= low and (high is None or value <= high)


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)  # Whole numbers may be larger than any that has a fraction.


def _range_text(low: float, high: float | None) -> str:
    return f"at least {low:g}" if high is None else f"from {low:g} to {high:.15g}"


def _fits(values: list[float], wanted: Numbers) -> bool:
    if len(values) != wanted.length or not all(_within(value, wanted.low, wanted.high) for value in values):
        return False
    if wanted.shares and not math.isclose(sum(values), 1, abs_tol=1e-6):
        return False
    return not wanted.rising or sorted(values) == list(values)


def _list_text(wanted: Numbers) -> str:
    more = ", the smaller one first" if wanted.rising else ", together 1" if wanted.shares else ""
    return f"{wanted.length} numbers from {wanted.low:g} to {wanted.high:g}{more}"


def _is_folder_name(name: str) -> bool:
    return bool(name.strip()) and name not in {".", ".."} and not any(mark in name for mark in "/\\\0")


def _wrong_policy(text: str) -> str | None:
    """Say what is wrong with a text in timm's grammar for automatic augmentation; ``None`` where nothing is."""
    policy, *sections = text.split("-")
    if policy not in AUTO_AUGMENT:
        return f"it begins with one of {', '.join(AUTO_AUGMENT)}, as rand-m7-mstd0.5"
    for section in sections:
        if policy == "rand" and section in OPERATIONS:
            continue
        match = SECTION.fullmatch(section)
        limits = AUTO_AUGMENT[policy].get(match["key"]) if match else None
        if match is None or limits is None:
            return f"'{section}' is none of {', '.join(AUTO_AUGMENT[policy])} with a number behind it"
        whole = match["key"] in FRACTIONS or "." not in match["value"]
        if not (whole and _within(float(match["value"]), *limits)):
            return f"'{section}': a {'' if match['key'] in FRACTIONS else 'whole '}number {_of(limits)}"
    return None


def _of(limits: tuple[float, float]) -> str:
    return f"from {limits[0]:g} to {limits[1]:g}"
