"""Read an ONNX file before onnxruntime runs it: no control flow, no files beside it, no operators of strangers.

A graph from elsewhere can loop for ever as soon as it is asked; onnxruntime has no limit for that, and works out what
is constant while it opens it. Format: the protocol buffers of ``onnx.proto``, of which the fields that matter are
walked over here, as the package ``onnx`` is no part of the base install.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from flowercli.errors import BundleError

SHIPPED: Final = Path(__file__).parent / "models"
# What protocol buffers may hold at most.
MOST_BYTES: Final = 2**31
DOMAINS: Final = frozenset({b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"})
CONTROL_FLOW: Final = frozenset({b"Loop", b"If", b"Scan", b"SequenceMap"})
# The numbers of the fields, by message; a model's code is training_info and functions.
MODEL_GRAPH, MODEL_CODE = 7, frozenset({20, 25})
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
NODE_OP_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = frozenset({5, 10}), frozenset({6, 11})
TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
HINT = "Run it only if you trust where it is from: with onnxruntime itself."


class Field(NamedTuple):
    """A field of a message: its number, its bytes or the number that it holds, and all of it as it is written."""

    number: int
    value: memoryview | int
    whole: memoryview


class DamagedError(Exception):
    """These are no protocol buffers."""


def check_file(path: Path) -> None:
    """Refuse a file with more than a plain graph in it; what ships with the program is not looked at.

    Raises:
        BundleError: it is no ONNX, or has control flow, external data, functions or operators of unknown domains.
    """
    if path.parent.parent == SHIPPED:
        return
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BundleError(f"{path} is larger than an ONNX file can be.")
        model = memoryview(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        wrong = next(_wrong_in_model(model), None)
    except (DamagedError, RecursionError) as error:
        raise BundleError(f"{path} is not a readable ONNX file.") from error
    if wrong:
        raise BundleError(f"{path} is not run: it has {wrong}.", hint=HINT)


def _wrong_in_model(model: memoryview) -> Iterator[str]:
    for number, value, _ in fields(model):
        if number == MODEL_GRAPH and isinstance(value, memoryview):
            yield from _wrong_in_graph(value)
        elif number in MODEL_CODE:
            yield "functions of its own"


def _wrong_in_graph(graph: memoryview) -> Iterator[str]:
    for number, value, _ in fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == GRAPH_NODE:
            yield from _wrong_in_node(value)
        elif number == GRAPH_INITIALIZER:
            yield from _wrong_in_tensor(value)
        elif number == GRAPH_SPARSE:  # Values and indices.
            for _, part, _ in fields(value):
                if isinstance(part, memoryview):
                    yield from _wrong_in_tensor(part)


def _wrong_in_node(node: memoryview) -> Iterator[str]:
    for number, value, _ in fields(node):
        if not isinstance(value, memoryview):
            continue
        if number == NODE_OP_TYPE and bytes(value) in CONTROL_FLOW:
            yield "control flow"
        elif number == NODE_DOMAIN and bytes(value) not in DOMAINS:
            yield "operators of an unknown domain"
        elif number == NODE_ATTRIBUTE:
            for kind, part, _ in fields(value):
                if kind in ATTRIBUTE_GRAPHS:
                    yield "control flow"
                elif kind in ATTRIBUTE_TENSORS and isinstance(part, memoryview):
                    yield from _wrong_in_tensor(part)


def _wrong_in_tensor(tensor: memoryview) -> Iterator[str]:
    for number, value, _ in fields(tensor):
        if number == TENSOR_EXTERNAL_DATA or (number == TENSOR_DATA_LOCATION and value):
            yield "data in other files"


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in order.

    Raises:
        DamagedError: these are no protocol buffers.
    """
    place, end = 0, len(message)
    while place < end:
        start = place
        key, place = _varint(message, place)
        if key >> 32:  # onnxruntime's reader drops the bits above; nobody writes them.
            raise DamagedError
        kind = key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield Field(key >> 3, value, message[start:place])
            continue
        size, place = _varint(message, place) if kind == LENGTH else ({EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind), place)
        if size is None or place + size > end:
            raise DamagedError
        value_at, place = place, place + size
        yield Field(key >> 3, message[value_at:place], message[start:place])


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 64:  # noqa: PLR2004  (bits of the longest)
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:  # noqa: PLR2004  (the last one)
            return value, place
    raise DamagedError
