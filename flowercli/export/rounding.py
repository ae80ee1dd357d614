"""Round the weights of a quantized graph so that its layers' answers change least.

Rounding each weight to its nearest value is not the best for a layer: what one weight loses, the weights that see
similar inputs can make up for. That is GPTQ (Frantar et al., 2023, arXiv 2210.17323): one input of a layer after the
other is rounded, and the inverse second moment of the inputs says how the others take over the error. With seven bits
a weight it keeps what eight bits and nearest rounding keep (docs/export.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from flowercli.inference.preprocess import INPUT
from flowercli.inference.session import CPU_PROVIDER, LOG_NOTHING
from flowercli.progress import Advance, untold

Array = npt.NDArray[np.floating[Any]]

# Pictures that the inputs of the convolutions are taken from, how many at once, and places of each input and picture.
PHOTOS, AT_ONCE, PLACES = 40, 4, 400
# Share of the mean second moment that is added to each: keeps the inverse stable (the paper's own value).
DAMPING = 0.01


@dataclass(frozen=True)
class Convolution:
    """A convolution before quantization: ``weights`` are ``[O, I / groups, kH, kW]``, ``input`` names a tensor."""

    name: str
    input: str
    weights: Array
    geometry: dict[str, list[int]]
    groups: int

    @classmethod
    def from_node(cls, node: onnx.NodeProto, weights: Array) -> Self:
        """Read a node ``Conv``."""
        settings = {attribute.name: attribute for attribute in node.attribute}
        geometry = {name: list(settings[name].ints) for name in ("pads", "strides", "dilations") if name in settings}
        return cls(node.name, node.input[0], weights, geometry, settings["group"].i if "group" in settings else 1)

    def patches(self, tensor: Array) -> Array:
        """Return what the weights are multiplied with, ``[groups, I / groups · kH · kW, places]``.

        Args:
            tensor: the input of the convolution, ``float32`` ``[N, I, H, W]``.
        """
        rows, columns = self.weights.shape[2:]
        top, left, bottom, right = self.geometry.get("pads", [0, 0, 0, 0])
        down, across = self.geometry.get("dilations", [1, 1])
        padded = np.pad(tensor, ((0, 0), (0, 0), (top, bottom), (left, right)))
        window = ((rows - 1) * down + 1, (columns - 1) * across + 1)
        views = np.lib.stride_tricks.sliding_window_view(padded, window, axis=(2, 3))
        stride = self.geometry.get("strides", [1, 1])
        views = views[:, :, :: stride[0], :: stride[1], ::down, ::across]
        seen = _places(views.shape[2] * views.shape[3])
        chosen = views[:, :, seen // views.shape[3], seen % views.shape[3]]
        return chosen.transpose(1, 3, 4, 0, 2).reshape(self.groups, -1, len(tensor) * len(seen))


@cache
def _places(count: int) -> npt.NDArray[np.int64]:
    """Choose some of so many places, the same in all pictures, and not in a grid, which might miss whole columns."""
    return np.random.default_rng(0).permutation(count)[:PLACES]


def second_moments(
    source: onnx.ModelProto, batches: Sequence[npt.NDArray[np.uint8]], advance: Advance = untold
) -> dict[str, Array]:
    """Run a graph and sum the outer products with themselves of what its convolutions multiply their weights with.

    Args:
        source: the graph before quantization.
        batches: pixels ``[N, H, W, 3]``; some of them, spread evenly, are taken.
        advance: called after each few.

    Returns:
        ``[G, K, K]`` for each name of a convolution, where ``K`` is ``I / G · kH · kW``.
    """
    layers = list(_convolutions(source.graph).values())
    if not layers:
        return {}
    names = sorted({layer.input for layer in layers})
    session = _observing(source, names)
    pixels = np.concatenate(list(batches))
    pixels = pixels[:: max(1, len(pixels) // PHOTOS)]
    sums: dict[str, Array] = {}
    for start in range(0, len(pixels), AT_ONCE):
        tensors = dict(zip(names, session.run(names, {INPUT: pixels[start : start + AT_ONCE]}), strict=True))
        for layer in layers:
            patches = layer.patches(tensors[layer.input])
            product = patches @ patches.transpose(0, 2, 1)
            sums[layer.name] = sums[layer.name] + product if layer.name in sums else product
        advance("Observing layers", len(pixels), len(pixels[start : start + AT_ONCE]))
    return sums


def compensate_rounding(
    quantized: onnx.ModelProto, source: onnx.ModelProto, moments: Mapping[str, Array], advance: Advance = untold
) -> None:
    """Round the weights of a quantized graph anew, in place; what is no convolution stays as it is.

    Args:
        quantized: in QDQ form, weights in ``int8`` per output channel.
        source: the graph that it was made from, with the same names.
        moments: of :func:`second_moments` of ``source``.
        advance: called with each layer.
    """
    tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
    makers = {node.output[0]: node for node in quantized.graph.node}
    convolutions = _convolutions(source.graph)
    for node in quantized.graph.node:
        dequantize = makers.get(node.input[1]) if node.name in convolutions else None
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            continue
        advance("Rounding weights", len(convolutions))
        layer, values = convolutions[node.name], tensors[dequantize.input[0]]
        scales = numpy_helper.to_array(tensors[dequantize.input[1]])
        limit = int(np.abs(numpy_helper.to_array(values).astype(np.int64)).max())
        by_group = layer.weights.reshape(layer.groups, len(layer.weights) // layer.groups, -1)
        rounded = gptq(by_group, scales.reshape(by_group.shape[:2]), moments[layer.name], limit)
        values.CopyFrom(numpy_helper.from_array(rounded.reshape(layer.weights.shape), values.name))


def gptq(weights: Array, scales: Array, moment: Array, limit: int) -> npt.NDArray[np.int8]:
    """Round weights so that their products with inputs of the given second moment change least.

    Args:
        weights: ``[G, O, K]``.
        scales: ``[G, O]``; a weight stands for an integer times its scale.
        moment: ``[G, K, K]``, the sum (or the mean: its scale plays no part) of the outer products of the inputs with
            themselves.
        limit: of the integers' magnitude.

    Returns:
        Integers ``int8`` ``[G, O, K]``.
    """
    moment = _damped(moment)
    # The inputs that matter most come first, while there are others left to make up for their errors.
    order = np.argsort(-np.einsum("gkk->gk", moment), axis=1, kind="stable")
    moment = np.take_along_axis(np.take_along_axis(moment, order[:, :, np.newaxis], 1), order[:, np.newaxis], 2)
    left = np.take_along_axis(weights.astype(np.float64), order[:, np.newaxis], 2)
    steps = scales.astype(np.float64)
    # Upper triangular: row k says how the inputs after k make up for an error at k.
    factors = np.linalg.cholesky(np.linalg.inv(moment)).transpose(0, 2, 1)
    rounded = np.zeros(weights.shape, dtype=np.int8)
    for k in range(weights.shape[2]):
        whole = np.clip(np.rint(left[:, :, k] / steps), -limit, limit)
        rounded[:, :, k] = whole
        error = (left[:, :, k] - whole * steps) / factors[:, k, k, np.newaxis]
        left[:, :, k + 1 :] -= error[:, :, np.newaxis] * factors[:, np.newaxis, k, k + 1 :]
    return np.take_along_axis(rounded, np.argsort(order, axis=1)[:, np.newaxis], 2)


def _damped(moment: Array) -> Array:
    """Return the moment with something added to its diagonal; inputs that are always zero get a one there."""
    damped = moment.astype(np.float64)
    diagonal = np.einsum("gkk->gk", damped)  # A view: what is added to it is added to the matrix.
    diagonal[diagonal == 0] = 1.0
    diagonal += DAMPING * diagonal.mean(axis=1, keepdims=True)
    return damped


def _convolutions(graph: onnx.GraphProto) -> dict[str, Convolution]:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv" and node.input[1] in constants]
    return {node.name: Convolution.from_node(node, numpy_helper.to_array(constants[node.input[1]])) for node in nodes}


def _observing(source: onnx.ModelProto, names: Sequence[str]) -> ort.InferenceSession:
    """Open a copy of a graph whose outputs are tensors from within it."""
    observed = onnx.ModelProto()
    observed.CopyFrom(source)
    del observed.graph.output[:]
    for name in names:
        observed.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = LOG_NOTHING
    return ort.InferenceSession(observed.SerializeToString(), options, providers=[CPU_PROVIDER])
