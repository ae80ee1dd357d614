"""Round the weights of a quantized graph so that its layers' answers change least.

Rounding each weight to its nearest value is not the best for a layer: what one weight loses, the weights that see
similar inputs can make up for. That is GPTQ (Frantar et al., 2023, arXiv 2210.17323): one input of a layer after the
other is rounded, and the inverse second moment of the inputs says how the others take over the error. With seven bits
a weight it keeps what eight bits and nearest rounding keep (docs/train.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from flowercli.inference.preprocess import INPUT
from flowercli.inference.session import CPU_PROVIDER, LOG_ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.floating[Any]]

# Pictures that the inputs of the layers are taken from, how many at once, and places of each layer and picture.
PHOTOS, AT_ONCE, PLACES = 40, 4, 400
# Share of the mean second moment that is added to each: keeps the inverse stable (the paper's own value).
DAMPING = 0.01


@dataclass(frozen=True)
class Layer:
    """A convolution whose weights are quantized per output channel.

    ``weights`` are those in fp32, ``[O, I / groups, kH, kW]``, ``scales`` are ``[O]``, ``limit`` is the largest
    integer that a weight may become, ``input`` names the tensor that it reads in the graph before quantization.
    """

    name: str
    input: str
    quantized: onnx.TensorProto
    weights: Array
    scales: Array
    limit: int
    geometry: dict[str, list[int]]
    groups: int

    def patches(self, tensor: Array) -> Array:
        """Return what the weights are multiplied with, ``[groups, I / groups · kH · kW, places]``.

        Args:
            tensor: the input of the layer, ``float32`` ``[N, I, H, W]``.
        """
        rows, columns = self.weights.shape[2:]
        top, left, bottom, right = self.geometry.get("pads", [0, 0, 0, 0])
        down, across = self.geometry.get("dilations", [1, 1])
        padded = np.pad(tensor, ((0, 0), (0, 0), (top, bottom), (left, right)))
        window = ((rows - 1) * down + 1, (columns - 1) * across + 1)
        views = np.lib.stride_tricks.sliding_window_view(padded, window, axis=(2, 3))
        stride = self.geometry.get("strides", [1, 1])
        views = views[:, :, :: stride[0], :: stride[1], ::down, ::across]
        # Some places only, the same for all pictures and not in a grid, which might miss whole columns.
        seen = np.random.default_rng(0).permutation(views.shape[2] * views.shape[3])[:PLACES]
        chosen = views[:, :, seen // views.shape[3], seen % views.shape[3]]
        flat: Array = chosen.transpose(1, 3, 4, 0, 2).reshape(self.groups, -1, len(tensor) * len(seen))
        return flat


def compensate_rounding(
    quantized: onnx.ModelProto, source: onnx.ModelProto, batches: Sequence[npt.NDArray[np.uint8]]
) -> None:
    """Round the weights of a quantized graph anew, in place; layers other than convolutions stay as they are.

    Args:
        quantized: in QDQ form, weights in ``int8`` per output channel.
        source: the graph that it was made from, with the same names.
        batches: pixels ``[N, H, W, 3]`` that the layers' inputs are computed from.
    """
    layers = _layers(quantized.graph, source.graph)
    if not layers:
        return
    moments = _second_moments(source, layers, np.concatenate(list(batches))[:: _step(batches)])
    for layer in layers:
        outputs = len(layer.weights) // layer.groups
        rounded = gptq(
            layer.weights.reshape(layer.groups, outputs, -1),
            layer.scales.reshape(layer.groups, outputs),
            moments[layer.name],
            layer.limit,
        )
        values = rounded.reshape(layer.weights.shape)
        layer.quantized.CopyFrom(numpy_helper.from_array(values, layer.quantized.name))


def gptq(weights: Array, scales: Array, moment: Array, limit: int) -> npt.NDArray[np.int8]:
    """Round weights so that their products with inputs of the given second moment change least.

    Args:
        weights: ``[G, O, K]``.
        scales: ``[G, O]``; a weight stands for an integer times its scale.
        moment: ``[G, K, K]``, the mean of the outer product of the inputs with themselves.
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


def _layers(quantized: onnx.GraphProto, source: onnx.GraphProto) -> list[Layer]:
    tensors = {tensor.name: tensor for tensor in quantized.initializer}
    floats = {tensor.name: tensor for tensor in source.initializer}
    makers = {node.output[0]: node for node in quantized.node}
    before = {node.name: node for node in source.node if node.op_type == "Conv"}
    found = []
    for node in quantized.node:
        dequantize = makers.get(node.input[1]) if node.name in before else None
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            continue
        values, scales = tensors[dequantize.input[0]], numpy_helper.to_array(tensors[dequantize.input[1]])
        weights = numpy_helper.to_array(floats[before[node.name].input[1]])
        limit = int(np.abs(numpy_helper.to_array(values).astype(np.int64)).max())
        settings = {attribute.name: attribute for attribute in node.attribute}
        geometry = {name: list(settings[name].ints) for name in ("pads", "strides", "dilations") if name in settings}
        groups = settings["group"].i if "group" in settings else 1
        tensor = before[node.name].input[0]
        found.append(Layer(node.name, tensor, values, weights, scales, limit, geometry, groups))
    return found


def _second_moments(source: onnx.ModelProto, layers: list[Layer], pixels: npt.NDArray[np.uint8]) -> dict[str, Array]:
    """Run the graph before quantization and return the moment of each layer's inputs, ``[G, K, K]``."""
    names = sorted({layer.input for layer in layers})
    observed = onnx.ModelProto()
    observed.CopyFrom(source)
    del observed.graph.output[:]
    for name in names:
        observed.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = LOG_ERRORS
    session = ort.InferenceSession(observed.SerializeToString(), options, providers=[CPU_PROVIDER])
    sums: dict[str, Array] = {}
    for start in range(0, len(pixels), AT_ONCE):
        tensors = dict(zip(names, session.run(names, {INPUT: pixels[start : start + AT_ONCE]}), strict=True))
        for layer in layers:
            patches = layer.patches(tensors[layer.input])
            product = patches @ patches.transpose(0, 2, 1)
            sums[layer.name] = sums[layer.name] + product if layer.name in sums else product
    return sums


def _step(batches: Sequence[npt.NDArray[np.uint8]]) -> int:
    return max(1, sum(map(len, batches)) // PHOTOS)
