"""Folding the normalisation into the first convolution: the same answers, and pixels straight into int8."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from flowercli.export.fold_normalisation import bypass_quantization, fold_normalisation

SIDE = 12
# timm's two usual normalisations: one value for all channels, and ImageNet's.
NORMALISATIONS = [([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]), ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]


def small_graph(mean, std, *, bias, pads=(0, 0, 0, 0), transpose_last=False, group=1):
    """Build what the exporter writes: layout, cast, normalisation, one convolution."""
    generator = np.random.default_rng(0)
    shape = (1, 1, 1, 3) if transpose_last else (1, 3, 1, 1)
    constants = {
        "mean": np.array(mean, np.float32).reshape(shape) * 255,
        "scale": 1 / (np.array(std, np.float32).reshape(shape) * 255),
        "weight": generator.normal(0, 1, (6, 3 // group, 3, 3)).astype(np.float32),
        "bias": generator.normal(0, 1, 6).astype(np.float32),
    }
    entry = [("Cast", {"to": TensorProto.FLOAT}), ("Sub", {}), ("Mul", {})]
    layout = ("Transpose", {"perm": [0, 3, 1, 2]})
    operators = [*entry, layout] if transpose_last else [layout, *entry]
    nodes, tensor = [], "pixels"
    for operator, attributes in operators:
        more = {"Sub": ["mean"], "Mul": ["scale"]}.get(operator, [])
        nodes.append(helper.make_node(operator, [tensor, *more], [f"{operator}_out"], **attributes))
        tensor = f"{operator}_out"
    inputs = [tensor, "weight", *(["bias"] if bias else [])]
    nodes.append(helper.make_node("Conv", inputs, ["out"], strides=[2, 2], pads=list(pads), group=group))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 6, None, None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name != "bias" or bias],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answers(model):
    onnx.checker.check_model(model)
    pixels = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": pixels})[0]


@pytest.mark.parametrize(("mean", "std"), NORMALISATIONS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transpose_last", [True, False])
def test_folded_graph_gives_the_same(mean, std, bias, transpose_last):
    model = small_graph(mean, std, bias=bias, transpose_last=transpose_last)
    before = answers(model)
    folded = fold_normalisation(model.graph)
    assert folded is not None
    assert np.abs(answers(model) - before).max() < 1e-4
    assert folded.zero_point == round(255 * np.mean(mean))


def test_padding_is_exact_where_the_channels_share_a_mean():
    # 0.2 * 255 is a whole pixel, so that the zero point is the mean itself.
    model = small_graph([0.2] * 3, [0.5] * 3, bias=True, pads=(1, 1, 1, 1))
    before = answers(model)
    fold_normalisation(model.graph)
    assert np.abs(answers(model) - before).max() < 1e-4


@pytest.mark.parametrize("other", ["group", "no_mean"])
def test_other_graphs_are_left_alone(other):
    model = small_graph([0.5] * 3, [0.5] * 3, bias=True, group=3 if other == "group" else 1)
    if other == "no_mean":
        subtraction = next(node for node in model.graph.node if node.op_type == "Sub")
        subtraction.op_type = "Add"
    before = model.SerializeToString()
    assert fold_normalisation(model.graph) is None
    assert model.SerializeToString() == before


def test_bypass_gives_the_pixels_themselves():
    """Quantize what the entry makes, as the quantizer would, then leave both out: not one bit changes."""
    model = small_graph([0.5] * 3, [0.5] * 3, bias=True)
    folded = fold_normalisation(model.graph)
    constants = {"q_scale": folded.quantization()["scale"], "q_zero": folded.quantization()["zero_point"]}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    convolution = model.graph.node[-1]
    convolution.input[0] = "d"
    parameters = ["q_scale", "q_zero"]
    model.graph.node.insert(4, helper.make_node("QuantizeLinear", [folded.tensor, *parameters], ["q"]))
    model.graph.node.insert(5, helper.make_node("DequantizeLinear", ["q", *parameters], ["d"]))
    before = answers(model)
    bypass_quantization(model.graph, folded)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "DequantizeLinear", "Conv"]
    assert np.array_equal(answers(model), before)


def test_exported_int8_graph_starts_with_the_pixels(trained):
    nodes = onnx.load(trained / "model.int8.onnx").graph.node
    found, tensor = [], "pixels"
    while "Conv" not in found:
        (node,) = (node for node in nodes if tensor in node.input and node.op_type != "Shape")
        found, tensor = [*found, node.op_type], node.output[0]
    assert found == ["Transpose", "DequantizeLinear", "Conv"]
