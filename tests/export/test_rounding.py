"""Rounding of quantized weights: less is lost than by nearest rounding, and no sum of products can saturate."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from flowercli.bundle import Bundle
from flowercli.export.rounding import Convolution, compensate_rounding, gptq, second_moments
from flowercli.inference import session
from flowercli.inference.session import open_session
from flowercli.models import load_model, shipped_names

# An x86 CPU without VNNI adds two products of a uint8 and an int8 in int16.
LARGEST = np.iinfo(np.int16).max // (2 * np.iinfo(np.uint8).max)


def conv_weights(path):
    graph = onnx.load(path).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    return [numpy_helper.to_array(tensors[makers[node.input[1]].input[0]]) for node in convolutions]


def run(model, feed, precise):
    options = ort.SessionOptions()
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, feed)


@pytest.fixture
def correlated():
    """Weights ``[2, 8, 24]``, their scales, and inputs ``[2, 24, 4000]`` that are much alike."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(2, 24, 6))
    inputs = mixing @ generator.normal(size=(2, 6, 4000)) + 0.3 * generator.normal(size=(2, 24, 4000))
    weights = generator.normal(size=(2, 8, 24))
    return weights, np.abs(weights).max(axis=2) / 7, inputs


def lost(weights, whole, scales, inputs):
    return np.square((weights - whole * scales[:, :, np.newaxis]) @ inputs).mean()


def test_less_is_lost_than_by_nearest_rounding(correlated):
    weights, scales, inputs = correlated
    whole = gptq(weights, scales, inputs @ inputs.transpose(0, 2, 1), 7)
    nearest = np.rint(weights / scales[:, :, np.newaxis])
    assert whole.dtype == np.int8
    assert np.abs(whole).max() <= 7
    assert lost(weights, whole, scales, inputs) < 0.5 * lost(weights, nearest, scales, inputs)


def test_inputs_that_have_nothing_in_common_give_nearest_rounding(correlated):
    weights, scales, _ = correlated
    moment = np.stack([np.diag(np.arange(1.0, 25.0))] * 2)
    moment[:, 3, 3] = 0.0  # Never anything but zero there.
    assert (gptq(weights, scales, moment, 127) == np.rint(weights / scales[:, :, np.newaxis])).all()


GEOMETRIES = [
    {"kernel": 1},
    {"kernel": 1, "strides": [2, 2], "groups": 2},
    {"kernel": 3, "pads": [1, 1, 1, 1]},
    {"kernel": 3, "pads": [0, 0, 1, 1], "strides": [2, 2], "groups": 4},
    {"kernel": 3, "pads": [2, 1, 2, 3], "dilations": [2, 1], "groups": 2},
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_patches_are_what_the_convolution_multiplies(geometry):
    generator = np.random.default_rng(0)
    groups, kernel = geometry.get("groups", 1), geometry["kernel"]
    weights = generator.normal(size=(8, 4 // groups, kernel, kernel)).astype(np.float32)
    lists = {name: geometry[name] for name in ("pads", "strides", "dilations") if name in geometry}
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, **lists)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph([node], "one", values[:1], values[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    x = generator.normal(size=(2, 4, 11, 9)).astype(np.float32)
    expected = run(model.SerializeToString(), {"x": x}, precise=False)[0]
    layer = Convolution.from_node(node, weights)
    products = weights.reshape(groups, 8 // groups, -1) @ layer.patches(x)
    shown = expected.transpose(1, 0, 2, 3).reshape(8, -1)
    # The places come in an order of their own.
    assert np.allclose(np.sort(products.reshape(8, -1)), np.sort(shown), atol=1e-4)


def test_exported_weights_cannot_saturate_and_answers_need_no_slower_kernels(trained):
    file = trained / "model.int8.onnx"
    assert max(np.abs(weights.astype(int)).max() for weights in conv_weights(file)) <= LARGEST
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    fast, precise = (run(str(file), {"pixels": pixels}, precise) for precise in (False, True))
    assert all(np.abs(one - other).max() < 1e-5 for one, other in zip(fast, precise, strict=True))


@pytest.mark.parametrize("name", shipped_names())
def test_weights_of_the_shipped_models_cannot_saturate(name):
    weights = conv_weights(load_model(name).file("model.int8.onnx"))
    assert max(np.abs(one.astype(int)).max() for one in weights) <= LARGEST


def test_only_graphs_not_known_to_fit_are_opened_precisely(trained, tmp_path, monkeypatch):
    def precise(bundle):
        opened, _ = open_session(bundle, "cpu")
        try:
            return opened.get_session_options().get_session_config_entry("session.x64quantprecision") == "1"
        except RuntimeError:  # Not set.
            return False

    bundle = Bundle.load(trained)
    assert bundle.section["exports"]["model.int8.onnx"]["weight_bits"] == 7
    older = Bundle.load(shutil.copytree(trained, tmp_path / "older"))
    del older.section["exports"]["model.int8.onnx"]["weight_bits"]
    lone = Bundle.load(trained / "model.int8.onnx")
    for lacks, expected in ((False, [False] * 4), (True, [False, False, True, True])):
        monkeypatch.setattr(session, "lacks_vnni", lambda lacks=lacks: lacks)
        assert [precise(one) for one in (bundle, load_model(None), older, lone)] == expected


def test_what_is_no_convolution_stays_as_it_is():
    scale = numpy_helper.from_array(np.ones(2, np.float32), "scale")
    whole = numpy_helper.from_array(np.full((3, 2), 5, np.int8), "whole")
    nodes = [
        helper.make_node("DequantizeLinear", ["whole", "scale"], ["weights"], axis=1),
        helper.make_node("MatMul", ["x", "weights"], ["y"], name="dense"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    quantized = helper.make_model(helper.make_graph(nodes, "dense", values[:1], values[1:], [scale, whole]))
    before = quantized.SerializeToString()
    moments = second_moments(quantized, [np.zeros((1, 4, 4, 3), np.uint8)])
    assert moments == {}
    compensate_rounding(quantized, quantized, moments)
    assert quantized.SerializeToString() == before
