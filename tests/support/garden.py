"""A model that reads its answer off the colour of a picture: red is the flower, green how sure it is to know it."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

SCIENTIFIC = {
    "bird_of_paradise": "Strelitzia reginae", "camellia": "Camellia", "cosmos": "Cosmos", "daisy": "Bellis perennis",
    "foxglove": "Digitalis purpurea", "geranium": "Geranium", "hellebore": "Helleborus", "iris": "Iris",
    "lily_of_the_valley": "Convallaria majalis", "poppy": "Papaver", "rose": "Rosa", "tulip": "Tulipa",
    "wallflower": "Erysimum", "wild_flower": None,
}  # fmt: skip
NAMES = list(SCIENTIFIC)
SIDE = 32
# How much less probable a flower is than the one that red says, by the square of the distance in names.
STEEP = 3
THRESHOLD = 0.7


def picture(flower: str, known: float = 0.95) -> bytes:
    """Return a PNG that the model answers so."""
    buffer = io.BytesIO()
    colour = round(255 * NAMES.index(flower) / (len(NAMES) - 1)), round(255 * known), 0
    Image.new("RGB", (2 * SIDE, 2 * SIDE), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_garden(path: Path, *, known: bool = True) -> Path:
    """Write the model as a lone ``.onnx``; without ``known`` and scientific names as it would have been before."""
    onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
    outputs = {"probabilities": len(NAMES), "embedding": 3, **({"known": 1} if known else {})}
    floats, pixels = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
    nodes = [onnx.helper.make_node(*step, **more) for *step, more in steps(floats) if known or step[2] != ["known"]]
    used = {name for node in nodes for name in node.input}
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "garden",
        [make("pixels", pixels, ["N", SIDE, SIDE, 3])],
        [make(name, floats, ["N", size]) for name, size in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in VALUES.items() if name in used],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.helper.set_model_props(model, {"config.json": json.dumps(description(known=known))})
    onnx.save(model, path)
    return path


VALUES = {
    "scale": np.float32(1 / 255), "axes": np.array([1, 2]), "last": np.float32(len(NAMES) - 1),
    "red": np.array([[1], [0], [0]], np.float32), "green": np.array([[0], [1], [0]], np.float32),
    "places": np.arange(len(NAMES), dtype=np.float32)[np.newaxis], "steep": np.float32(-STEEP),
}  # fmt: skip


def steps(floats: int) -> list[tuple[Any, ...]]:
    """Return the nodes: kind, inputs, outputs, attributes."""
    return [
        ("Cast", ["pixels"], ["floats"], {"to": floats}),
        ("ReduceMean", ["floats", "axes"], ["mean"], {"keepdims": 0}),
        ("Mul", ["mean", "scale"], ["embedding"], {}),
        ("MatMul", ["embedding", "red"], ["share"], {}),
        ("Mul", ["share", "last"], ["place"], {}),
        ("Sub", ["place", "places"], ["away"], {}),
        ("Mul", ["away", "away"], ["squares"], {}),
        ("Mul", ["squares", "steep"], ["logits"], {}),
        ("Softmax", ["logits"], ["probabilities"], {"axis": 1}),
        ("MatMul", ["embedding", "green"], ["known"], {}),
    ]


def description(*, known: bool) -> dict[str, Any]:
    """Return the ``config.json`` of the model."""
    cfg = {"interpolation": "bicubic", "crop_pct": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}
    section = {"format_version": 1, "temperature": 1.0, "rejection_threshold": THRESHOLD, "files": {}}
    return {
        "architecture": "garden",
        "num_classes": len(NAMES),
        "label_names": NAMES,
        "pretrained_cfg": {"input_size": [3, SIDE, SIDE], **cfg},
        "flowers": {**section, "scientific_names": list(SCIENTIFIC.values())} if known else section,
    }
