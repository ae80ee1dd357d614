"""The ``config.pbtxt`` of each model of a Triton repository: what it takes and gives, and how it is scheduled.

The fields are those of Triton's ``ModelConfig`` message
(github.com/triton-inference-server/common, protobuf/model_config.proto); a test parses the text as that message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DECODE, PIXELS, ENSEMBLE = "flowers_decode", "flowers_pixels", "flowers"
LABELS = "labels.txt"
# The output that a graph which was exported before does not have.
KNOWN = "known"
# What the TensorRT profile of a plan ends at; the ONNX graphs take any number.
MAX_BATCH = 64
# The batches that a model has met before the server says that it is ready.
WARM_UP = (1, 8)
GPU_OR_CPU, CPU, GPU = "KIND_AUTO", "KIND_CPU", "KIND_GPU"


class Constant(str):
    """A name of an enumeration, which the text format writes without quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Shapes:
    """The sizes that the models of one repository share, and whether the graph has the output ``known``."""

    height: int
    width: int
    classes: int
    embedding: int
    has_known: bool
    max_batch: int = MAX_BATCH

    @property
    def pixels(self) -> list[int]:
        """The shape of one picture, channels last."""
        return [self.height, self.width, 3]


def decode_config(shapes: Shapes) -> dict[str, Any]:
    """Return the configuration of the model that turns bytes into pixels, of the Python backend."""
    return {
        "name": DECODE,
        "backend": "python",
        "max_batch_size": shapes.max_batch,
        "input": [_tensor("image", "TYPE_STRING", [1])],
        "output": [_tensor("pixels", "TYPE_UINT8", shapes.pixels)],
        "dynamic_batching": {},
        "instance_group": [_instances(CPU)],
    }


def onnxruntime_config(shapes: Shapes) -> dict[str, Any]:
    """Return the configuration of the graph in Triton's onnxruntime backend, on the GPU where there is one."""
    runtime = {"backend": "onnxruntime", "platform": "onnxruntime_onnx", "default_model_filename": "model.onnx"}
    return _pixels_config(shapes, runtime, GPU_OR_CPU, WARM_UP)


def python_config(shapes: Shapes) -> dict[str, Any]:
    """Return the configuration of the graph in the Python backend, on the CPU."""
    return _pixels_config(shapes, {"backend": "python"}, CPU, WARM_UP[:1])


def tensorrt_config(shapes: Shapes, plans: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration of a TensorRT engine.

    Args:
        shapes: with ``max_batch`` no larger than the engine's profile.
        plans: file names by CUDA compute capability. There is no default file, so that a GPU of another
            capability is refused instead of being handed an engine that was not built for it.
    """
    files = [{"key": capability, "value": name} for capability, name in plans.items()]
    runtime = {"backend": "tensorrt", "platform": "tensorrt_plan", "cc_model_filenames": files}
    return _pixels_config(shapes, runtime, GPU, WARM_UP)


def ensemble_config(shapes: Shapes) -> dict[str, Any]:
    """Return the configuration of the two models in a row: bytes in, what the graph gives out."""
    outputs = _answers(shapes)
    answers = {output["name"]: output["name"] for output in outputs}
    return {
        "name": ENSEMBLE,
        "platform": "ensemble",
        "max_batch_size": shapes.max_batch,
        "input": [_tensor("image", "TYPE_STRING", [1])],
        "output": outputs,
        "ensemble_scheduling": {
            "step": [
                _step(DECODE, {"image": "image"}, {"pixels": "pixels"}),
                _step(PIXELS, {"pixels": "pixels"}, answers),
            ]
        },
    }


def to_text(message: Mapping[str, Any]) -> str:
    """Write a message in protobuf's text format."""
    return "\n".join(_lines(message)) + "\n"


def _pixels_config(shapes: Shapes, runtime: Mapping[str, Any], kind: str, batches: Sequence[int]) -> dict[str, Any]:
    return {
        "name": PIXELS,
        **runtime,
        "max_batch_size": shapes.max_batch,
        "input": [_tensor("pixels", "TYPE_UINT8", shapes.pixels)],
        "output": _answers(shapes),
        "dynamic_batching": {},
        "instance_group": [_instances(kind)],
        "model_warmup": [_warm_up(shapes, min(size, shapes.max_batch)) for size in batches],
    }


def _answers(shapes: Shapes) -> list[dict[str, Any]]:
    probabilities = {**_tensor("probabilities", "TYPE_FP32", [shapes.classes]), "label_filename": LABELS}
    known = [_tensor(KNOWN, "TYPE_FP32", [1])] if shapes.has_known else []
    return [probabilities, _tensor("embedding", "TYPE_FP32", [shapes.embedding]), *known]


def _tensor(name: str, data_type: str, dims: list[int]) -> dict[str, Any]:
    return {"name": name, "data_type": Constant(data_type), "dims": dims}


def _instances(kind: str) -> dict[str, Any]:
    return {"count": 1, "kind": Constant(kind)}


def _warm_up(shapes: Shapes, size: int) -> dict[str, Any]:
    noise = {"data_type": Constant("TYPE_UINT8"), "dims": shapes.pixels, "random_data": True}
    return {"name": f"batch of {size}", "batch_size": size, "inputs": [{"key": "pixels", "value": noise}]}


def _step(model: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, Any]:
    maps = {
        name: [{"key": inner, "value": outer} for inner, outer in tensors.items()]
        for name, tensors in (("input_map", inputs), ("output_map", outputs))
    }
    return {"model_name": model, "model_version": -1, **maps}


def _lines(message: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, list) and not any(isinstance(item, dict) for item in value):
            yield f"{indent}{name}: [ {', '.join(map(_scalar, value))} ]"
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield f"{indent}{name} {{"
                yield from _lines(item, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(item)}"


def _scalar(value: object) -> str:
    # A string of the text format is written as JSON writes one.
    return value if isinstance(value, Constant) else json.dumps(value, ensure_ascii=False)
