"""The description of a bundle, ``config.json``: read from its folder or from a lone ``.onnx``, and checked.

A bundle may come from anywhere: what is missing, damaged or of another format is refused with what is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli import json_text
from flowercli.errors import BundleError
from flowercli.graph_file import check_file
from flowercli.onnxruntime_quietly import import_onnxruntime
from flowercli.plain_file import read_plain_file
from flowercli.shown import in_shell

if TYPE_CHECKING:
    import onnxruntime as ort


FORMAT_VERSION = 1
# The key under which a lone .onnx carries config.json in its metadata.
ONNX_METADATA_KEY = "config.json"

SHA256 = re.compile(r"[0-9a-f]{64}")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}")
REQUIRED = ("architecture", "num_classes", "label_names", "pretrained_cfg")
REQUIRED_OURS = ("temperature", "rejection_threshold", "files")
MOST_CLASSES = 100_000
LARGEST = sys.float_info.max


def read_config(path: Path) -> dict[str, Any]:
    """Read the ``config.json`` of a folder.

    Raises:
        BundleError: it is not there, cannot be read, or is no JSON object.
    """
    try:
        text = read_plain_file(path)
    except FileNotFoundError:
        message = f"{path.parent} is not a model bundle: it has no {path.name}."
        raise BundleError(message, hint="flowers train --data DIR makes one.") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}.") from error
    return parse(text, path)


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the description that a lone ``.onnx`` carries in its metadata.

    Raises:
        BundleError: the file is no ONNX, or does not say what it is.
    """
    text = _inspected(path).get_modelmeta().custom_metadata_map.get(ONNX_METADATA_KEY)
    if text is None:
        message = f"{path} does not say what it is: its metadata has no {ONNX_METADATA_KEY}."
        raise BundleError(message, hint="Export it with: flowers export BUNDLE --onnx")
    return parse(text, path)


def output_names(path: Path) -> list[str]:
    """Return the names of the outputs of an ``.onnx``; those of a graph that was exported before are fewer.

    Raises:
        BundleError: the file is no ONNX.
    """
    return [output.name for output in _inspected(path).get_outputs()]


def _inspected(path: Path) -> ort.InferenceSession:
    """Return a session to look at and to throw away: nothing is optimised for it."""
    check_file(path)
    # Only a lone file needs its description before its session exists.
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common base but Exception.
        hint = (
            f"It loads a TensorRT engine: give its folder, {path.parent}" if path.name.endswith(".trt.onnx") else None
        )
        raise BundleError(f"{path} is not a readable ONNX file.", hint=hint) from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """Parse the text of a description; ``path`` is what an error names.

    Raises:
        BundleError: it is no JSON object.
    """
    try:
        config = json_text.loads(text)
    except ValueError as error:
        raise BundleError(f"The description in {path} is damaged: {error}.") from error
    if not isinstance(config, dict):
        raise BundleError(f"The description in {path} is damaged: it is not an object.")
    return config


def check(config: dict[str, Any], path: Path) -> None:
    """Check what a bundle says of itself, field by field.

    Raises:
        BundleError: it is a plain timm model, of another format, incomplete or damaged.
    """
    section = config.get("flowers")
    if not isinstance(section, dict):
        message = f"{path} is a timm model, not a flowers bundle: its {ONNX_METADATA_KEY} has no 'flowers' section."
        raise BundleError(message, hint=f"Fine-tune it: flowers train --data DIR model.weights={in_shell(path)}")
    version = section.get("format_version")
    if version != FORMAT_VERSION:
        message = f"{path} has bundle format {version}; this version reads format {FORMAT_VERSION}."
        from flowercli.installation import upgrade

        raise BundleError(message, hint=upgrade())
    if missing := missing_fields(config, section):
        raise BundleError(f"The description in {path} is incomplete: {', '.join(missing)} missing.")
    for wrong in wrong_fields(config, section):
        raise BundleError(f"The description in {path} is damaged: {wrong}.")


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
    if not _is_history(section.get("taught", {"model": "", "flowers": {}, "forgotten": []})):
        yield "taught does not say what it was taught"
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


def _is_history(taught: Any) -> bool:
    """Tell whether it can be said of it what a model was taught; whether it fits the model, ``teaching`` knows."""
    if not isinstance(taught, dict):
        return False
    flowers, forgotten = taught.get("flowers"), taught.get("forgotten")
    if not isinstance(taught.get("model"), str) or not isinstance(flowers, dict) or not isinstance(forgotten, list):
        return False
    return all(isinstance(one, list) for one in flowers.values()) and all(isinstance(one, str) for one in forgotten)


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
