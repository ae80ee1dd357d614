"""The description of a bundle, ``config.json``: read from its folder or from a lone ``.onnx``, and checked.

A bundle may come from anywhere: what is missing, damaged or of another format is refused with what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowercli import json_text
from flowercli.description_fields import missing_fields, wrong_fields
from flowercli.errors import BundleError
from flowercli.graph_file import check_file
from flowercli.onnxruntime_quietly import import_onnxruntime
from flowercli.plain_file import read_plain_file
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime as ort

FORMAT_VERSION = 1
# The key under which a lone .onnx carries config.json in its metadata.
ONNX_METADATA_KEY = "config.json"


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
