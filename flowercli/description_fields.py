"""What the fields of a bundle's description may hold: types, ranges, and sizes that fit each other."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SHA256 = re.compile(r"[0-9a-f]{64}")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
REQUIRED = ("architecture", "num_classes", "label_names", "pretrained_cfg")
REQUIRED_OURS = ("temperature", "rejection_threshold", "files")
MOST_CLASSES = 100_000
LARGEST = sys.float_info.max


def missing_fields(config: dict[str, Any], section: dict[str, Any]) -> list[str]:
    """Return the names of the fields that every description has, and this one lacks."""
    missing = sorted(name for name in REQUIRED if name not in config)
    return missing + sorted(name for name in REQUIRED_OURS if name not in section)


def wrong_fields(config: dict[str, Any], section: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a description that lacks nothing, the first thing first."""
    names, count = config["label_names"], config["num_classes"]
    if not isinstance(config["architecture"], str):
        yield "architecture is no name"
    if not is_count(count) or count > MOST_CLASSES:
        yield "num_classes is no number of classes"
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        yield "label_names is not a list of names"
        return
    if len(set(names)) != len(names):
        yield "label_names has a name twice"
    if len(names) != count:
        yield f"it names {len(names)} classes but has {count}"
    if not isinstance(config["pretrained_cfg"], dict):
        yield "pretrained_cfg is no object"
    yield from _wrong_in_section(section, len(names))
    yield from _wrong_files(section["files"])


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number of at least one."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _wrong_in_section(section: dict[str, Any], count: int) -> Iterator[str]:
    for name in ("temperature", "rejection_threshold"):
        if not is_number(section[name]):
            yield f"{name} is not a number"
            return
    if section["temperature"] <= 0:
        yield "temperature is not above zero"
    if not 0 <= section["rejection_threshold"] <= 1:
        yield "rejection_threshold is not between 0 and 1"
    scientific = section.get("scientific_names") or [None] * count
    if not isinstance(scientific, list) or not all(name is None or isinstance(name, str) for name in scientific):
        yield "scientific_names is not a list of names"
    elif len(scientific) != count:
        yield f"it names {count} classes but has {len(scientific)} scientific names"
    if "embedding_size" in section and not is_count(section["embedding_size"]):
        yield "embedding_size is no size"
    for name in ("exports", "known", "provenance", "metrics"):
        if not isinstance(section.get(name, {}), dict):
            yield f"{name} is no object"
            return
    yield from _wrong_metrics(section.get("metrics", {}))


def _wrong_metrics(metrics: dict[str, Any]) -> Iterator[str]:
    for split, variants in metrics.items():
        if not isinstance(variants, dict):
            yield f"the metrics of {split!a} are no object"
            return
        for variant, values in variants.items():
            if not _has_accuracy(values):
                yield f"the metrics of {split!a} say no accuracy of {variant!a}"


def _has_accuracy(values: Any) -> bool:
    accuracy = values.get("accuracy") if isinstance(values, dict) else None
    return isinstance(accuracy, dict) and is_number(accuracy.get("value")) and is_count(values.get("photos"))


def _wrong_files(files: Any) -> Iterator[str]:
    if not isinstance(files, dict):
        yield "files is no object"
        return
    for name, entry in files.items():
        if not PLAIN_NAME.fullmatch(name) or not name.strip("."):
            yield f"it lists {name!a}, which is no plain file name"
        if not isinstance(entry, dict) or not {"sha256", "size"} <= entry.keys():
            yield f"it says neither size nor sha256 of {name}"
        elif not (isinstance(entry["sha256"], str) and SHA256.fullmatch(entry["sha256"])):
            yield f"the sha256 of {name} is none"
        elif not isinstance(entry["size"], int) or entry["size"] < 0:
            yield f"the size of {name} is none"
