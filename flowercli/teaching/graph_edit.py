"""Put nodes behind the outputs of an ONNX graph, and take them off again, byte for byte.

Protocol buffers of ``onnx.proto``, read by ``graph_file`` and written here: the package ``onnx`` is no part of the
base install. What was there stays as it was written, but for the names of the outputs that get something behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flowercli.description import ONNX_METADATA_KEY
from flowercli.errors import BundleError
from flowercli.graph_file import (
    GRAPH_INITIALIZER,
    GRAPH_NODE,
    LENGTH,
    MODEL_GRAPH,
    NODE_DOMAIN,
    NODE_OP_TYPE,
    VARINT,
    DamagedError,
    fields,
)

# What is put in has names that begin so.
PREFIX = "taught."
# The numbers of the fields, by message, which reading alone does not need.
MODEL_OPSET, MODEL_METADATA = 8, 14
GRAPH_OUTPUT = 12
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_ATTRIBUTE = 1, 2, 3, 5
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_TYPE = 1, 3, 20
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR, TENSOR_SHAPE, SHAPE_DIM, DIM_VALUE = 1, 2, 1, 2, 1, 1
OPSET_DOMAIN, OPSET_VERSION = 1, 2
FLOAT, AN_INT = 1, 2
# Softmax along an axis, as it is meant here.
LEAST_OPSET = 13
STANDARD = (b"", b"ai.onnx")


@dataclass(frozen=True)
class Node:
    """A node: what it does, the names that it takes and the one that it gives, and its whole numbers."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Addition:
    """What is put behind a graph: nodes in order, constants ``float32`` by name, and sizes of outputs by name.

    Names of constants and of values in between begin with :data:`PREFIX`; ``before`` gives the name of an output as
    it is without the addition.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, npt.NDArray[Any]]
    outputs: Mapping[str, int]


def before(output: str) -> str:
    """Return what an output of the graph is called once something is put behind it."""
    return f"{PREFIX}{output}"


def with_addition(model: bytes, addition: Addition, description: str) -> bytes:
    """Return a model with an addition, and with this ``config.json`` in its metadata.

    Raises:
        BundleError: it is no ONNX, or of a time before the operators that are put in.
    """
    if _opset(model) < LEAST_OPSET:
        raise BundleError(f"The graph is of ONNX opset {_opset(model)}; at least {LEAST_OPSET} is needed.")
    added = [*(_message(GRAPH_NODE, _node(node)) for node in addition.nodes)]
    added += [_message(GRAPH_INITIALIZER, _tensor(name, value)) for name, value in addition.constants.items()]
    names = {name.encode(): before(name).encode() for name in addition.outputs}
    sizes = {name.encode(): size for name, size in addition.outputs.items()}
    return _rewritten(model, names, sizes, added, description)


def without_addition(model: bytes, outputs: Mapping[str, int], description: str) -> bytes:
    """Return a model as it was before :func:`with_addition`: ``outputs`` are the sizes that they had then.

    Raises:
        BundleError: it is no ONNX.
    """
    names = {before(name).encode(): name.encode() for name in outputs}
    return _rewritten(model, names, {name.encode(): size for name, size in outputs.items()}, [], description)


def _rewritten(
    model: bytes, names: Mapping[bytes, bytes], sizes: Mapping[bytes, int], added: list[bytes], description: str
) -> bytes:
    try:
        parts = [*_model_parts(memoryview(model), names, sizes, added)]
    except DamagedError as error:
        raise BundleError("The graph of the model is not a readable ONNX file.") from error
    entry = _message(1, ONNX_METADATA_KEY.encode()) + _message(2, description.encode())
    return b"".join((*parts, _message(MODEL_METADATA, entry)))


def _model_parts(
    model: memoryview, names: Mapping[bytes, bytes], sizes: Mapping[bytes, int], added: list[bytes]
) -> Iterator[bytes | memoryview]:
    for number, value, whole in fields(model):
        if number == MODEL_GRAPH and isinstance(value, memoryview):
            yield _message(MODEL_GRAPH, b"".join((*_graph_parts(value, names, sizes), *added)))
        elif number != MODEL_METADATA or _texts(value, 1) != [ONNX_METADATA_KEY.encode()]:
            yield whole


def _graph_parts(
    graph: memoryview, names: Mapping[bytes, bytes], sizes: Mapping[bytes, int]
) -> Iterator[bytes | memoryview]:
    start = PREFIX.encode()
    for number, value, whole in fields(graph):
        if number == GRAPH_NODE and any(name.startswith(start) for name in _texts(value, NODE_NAME)):
            continue
        if number == GRAPH_INITIALIZER and any(name.startswith(start) for name in _texts(value, TENSOR_NAME)):
            continue
        if number == GRAPH_NODE and not names.keys().isdisjoint(_texts(value, NODE_INPUT, NODE_OUTPUT)):
            yield _message(GRAPH_NODE, b"".join(_renamed(value, names)))
        elif number == GRAPH_OUTPUT and (size := sizes.get(b"".join(_texts(value, VALUE_NAME)[:1]))):
            yield _message(GRAPH_OUTPUT, b"".join(_resized(value, (VALUE_TYPE, TYPE_TENSOR, TENSOR_SHAPE), size)))
        else:
            yield whole


def _renamed(node: memoryview | int, names: Mapping[bytes, bytes]) -> Iterator[bytes | memoryview]:
    for number, value, whole in _fields_of(node):
        found = (
            names.get(bytes(value)) if number in {NODE_INPUT, NODE_OUTPUT} and isinstance(value, memoryview) else None
        )
        yield whole if found is None else _message(number, found)


def _resized(value: memoryview | int, path: tuple[int, ...], size: int) -> Iterator[bytes | memoryview]:
    """Yield a value of a graph ``[N, C]`` with ``size`` for ``C``; ``path`` leads to its shape."""
    seen = 0
    for number, inner, whole in _fields_of(value):
        if path and number == path[0]:
            yield _message(number, b"".join(_resized(inner, path[1:], size)))
        elif not path and number == SHAPE_DIM:
            seen += 1
            yield whole if seen == 1 else _message(SHAPE_DIM, _number(DIM_VALUE, size))
        else:
            yield whole


def _opset(model: bytes) -> int:
    try:
        for number, value, _ in fields(memoryview(model)):
            if number == MODEL_OPSET and (_texts(value, OPSET_DOMAIN) or [b""])[0] in STANDARD:
                return next((int(found) for kind, found, _ in _fields_of(value) if kind == OPSET_VERSION), 0)
    except DamagedError as error:
        raise BundleError("The graph of the model is not a readable ONNX file.") from error
    return 0


def _fields_of(value: memoryview | int) -> Iterator[Any]:
    return iter(()) if isinstance(value, int) else fields(value)


def _texts(message: memoryview | int, *numbers: int) -> list[bytes]:
    found = _fields_of(message)
    return [bytes(value) for number, value, _ in found if number in numbers and not isinstance(value, int)]


def _node(node: Node) -> bytes:
    parts: Iterable[bytes] = (
        *(_message(NODE_INPUT, name.encode()) for name in node.inputs),
        _message(NODE_OUTPUT, node.output.encode()),
        _message(NODE_NAME, f"{PREFIX}{node.output}".encode()),
        _message(NODE_OP_TYPE, node.kind.encode()),
        *(_message(NODE_ATTRIBUTE, _attribute(name, value)) for name, value in node.attributes.items()),
        _message(NODE_DOMAIN, b""),
    )
    return b"".join(parts)


def _attribute(name: str, value: int) -> bytes:
    return _message(ATTRIBUTE_NAME, name.encode()) + _number(ATTRIBUTE_INT, value) + _number(ATTRIBUTE_TYPE, AN_INT)


def _tensor(name: str, value: npt.NDArray[Any]) -> bytes:
    raw = np.ascontiguousarray(value, "<f4").tobytes()
    dims = b"".join(_number(TENSOR_DIMS, size) for size in value.shape)
    return dims + _number(TENSOR_TYPE, FLOAT) + _message(TENSOR_NAME, name.encode()) + _message(TENSOR_RAW, raw)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | LENGTH) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:  # noqa: PLR2004  (bits of a byte that is not the last)
        found.append(value & 127 | 128)
        value >>= 7
    return bytes((*found, value))
