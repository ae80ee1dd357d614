"""A model of three colours, made in a moment: a bundle whose graph has the output ``known``, or lacks it.

Its flowers are red, green and blue, and it knows a picture the better the purer its colour is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="needs the extra 'train'")

from onnx import TensorProto, helper, numpy_helper, save_model

from flowercli.bundle import ONNX, Bundle, create, embeddable_config

NAMES = ("red_rose", "green_hellebore", "blue_iris")
SCIENTIFIC = ("Rosa", None, "Iris")
SIZE = 32
# Known with 1, 0.55 and 0: one of its flowers, perhaps one of them, and none.
PURE, PALE, GREY = (255, 0, 0), (255, 115, 115), (128, 128, 128)
CONFIG = {
    "architecture": "colours",
    "num_classes": 3,
    "label_names": list(NAMES),
    "pretrained_cfg": {
        "input_size": [3, SIZE, SIZE], "interpolation": "bicubic", "crop_pct": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1],
    },
    "flowers": {
        "format_version": 1, "temperature": 1.0, "rejection_threshold": 0.6, "embedding_size": 3, "files": {},
        "scientific_names": list(SCIENTIFIC),
    },
}  # fmt: skip


def colour_bundle(folder: Path, *, known: bool = True) -> Bundle:
    """Write the bundle into a new folder."""
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / ONNX
        write_graph(graph, known=known)
        return create(folder, CONFIG, {ONNX: graph})


def write_graph(path: Path, *, known: bool) -> None:
    """Write the graph: the mean colour is the embedding, its softmax the answer, its saturation what is known."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "places"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["embedding"]),
        helper.make_node("Mul", ["embedding", "sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["embedding", "channels"], ["largest"], keepdims=1),
        helper.make_node("ReduceMin", ["embedding", "channels"], ["smallest"], keepdims=1),
        helper.make_node("Sub", ["largest", "smallest"], ["known"]),
    ]
    constants = {
        "places": np.array([1, 2]),
        "channels": np.array([1]),
        "white": np.float32(255),
        "sharpness": np.float32(8),
    }
    outputs = {"probabilities": 3, "embedding": 3, "known": 1} if known else {"probabilities": 3, "embedding": 3}
    graph = helper.make_graph(
        nodes if known else nodes[:5],
        "colours",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(model, {"config.json": embeddable_config(CONFIG)})
    save_model(model, str(path))


def write_colours(folder: Path) -> list[Path]:
    """Write a picture of each kind: known, perhaps known, unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in ("pure", "pale", "grey")]
    for path, colour in zip(paths, (PURE, PALE, GREY), strict=True):
        Image.new("RGB", (48, 40), colour).save(path)
    return paths
