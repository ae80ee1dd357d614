"""Building a TensorRT engine, as far as it goes without a GPU: the process apart, the files, what was really built."""

from __future__ import annotations

import operator
import signal
import time

import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
pytest.importorskip("torch", reason="needs the extra 'train'")

from onnx import TensorProto, helper

from flowercli.bundle import Bundle
from flowercli.errors import ExportError
from flowercli.export.build_engine import built_precision, half_weights, name_plan
from flowercli.export.engine_process import run_apart
from flowercli.models import FOLDER


def test_progress_is_told_while_the_process_works(tmp_path):
    seconds = []
    run_apart(time.sleep, (2.2,), tmp_path / "log", seconds.append)
    assert len(seconds) >= 2
    assert seconds == sorted(seconds)
    assert 2 < seconds[-1] < 30


@pytest.mark.parametrize(
    ("work", "arguments", "cause"),
    [
        (operator.truediv, (1, 0), "ZeroDivisionError: division by zero"),
        (signal.raise_signal, (signal.SIGSEGV,), "its process was ended by SIGSEGV."),
    ],
)
def test_what_goes_wrong_in_the_process_is_the_message(tmp_path, capfd, work, arguments, cause):
    with pytest.raises(ExportError) as raised:
        run_apart(work, arguments, tmp_path / "log", lambda _seconds: None)
    assert raised.value.message == f"TensorRT could not build the engine: {cause}"
    assert raised.value.hint == "flowers doctor"
    # What it wrote is in the log alone.
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_build_leaves_no_process(tmp_path):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_apart(time.sleep, (60,), tmp_path / "log", interrupt)
    assert time.monotonic() - started < 30


def loading_graph(folder, *others, file="TensorrtExecutionProvider_TRTKernel_graph_1_0_sm90.engine"):
    """Write the graph through which onnxruntime loads an engine, as its TensorRT provider does."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 224, 224, 3])
    answers = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 5])
    attributes = {"embed_mode": 0, "ep_cache_context": file, "hardware_architecture": "90"}
    node = helper.make_node("EPContext", ["pixels"], ["probabilities"], domain="com.microsoft", **attributes)
    graph = helper.make_graph([*others, node], "engine", [pixels], [answers])
    (folder / file).write_bytes(b"an engine")
    onnx.save(helper.make_model(graph), folder / "model.trt.onnx")
    return folder / "model.trt.onnx"


def test_engine_gets_its_name_in_the_bundle_and_the_graph_finds_it(tmp_path):
    graph = loading_graph(tmp_path)
    name_plan(Bundle.load(FOLDER / "flowers5"), graph)
    assert (tmp_path / "model.plan").read_bytes() == b"an engine"
    assert {path.name for path in tmp_path.iterdir()} == {"model.plan", "model.trt.onnx"}
    proto = onnx.load(graph)
    attributes = {attribute.name: attribute for attribute in proto.graph.node[0].attribute}
    assert attributes["ep_cache_context"].s == b"model.plan"
    assert attributes["embed_mode"].i == 0
    assert "config.json" in {entry.key for entry in proto.metadata_props}


def test_the_graph_of_an_engine_is_no_model_alone(tmp_path, run):
    result = run("classify", tmp_path, "--model", loading_graph(tmp_path))
    assert result.code == 1
    assert f"It loads a TensorRT engine: give its folder, {tmp_path}" in result.err


def test_engine_of_a_part_of_the_graph_is_refused(tmp_path):
    graph = loading_graph(tmp_path, helper.make_node("Transpose", ["pixels"], ["rows"]))
    with pytest.raises(ExportError, match="only a part of the graph, without Transpose") as raised:
        name_plan(Bundle.load(FOLDER / "flowers5"), graph)
    assert raised.value.hint.endswith("--fp16 --trt")
    assert not (tmp_path / "model.plan").exists()


CONVOLUTION = "[V] Layer(CaskConvolution): conv + relu, Tactic: 0x1, x ({0}[-1,3:4,224,224]) -> y ({0}[-1,32,112,112])"
REFORMAT = "[V] Layer(Reformat): copy, Tactic: 0x0, pixels (Float[-1,3,224,224]) -> x (Float[-1,3:4,224,224])"
OLD_STYLE = "Layer(CaskConvolution): conv, Tactic: 1, x[{0}(128,3,224,224)] -> y[{0}(128,96,56,56)]"
OPAQUE = "Layer(Myelin): {ForeignNode[a...b]}, Tactic: 0x0, pixels (UInt8[-1,224,224,3]) -> p (Float[-1,5])"


@pytest.mark.parametrize(
    ("log", "plan_bytes", "precision"),
    [
        ([CONVOLUTION.format("Half")] * 9 + [CONVOLUTION.format("Float")], 10_000, "fp16"),
        ([CONVOLUTION.format("Float")] * 9 + [CONVOLUTION.format("Half")], 1, "fp32"),
        ([OLD_STYLE.format("Half"), *[REFORMAT] * 9], 10_000, "fp16"),
        ([OLD_STYLE.format("Float")], 10_000, "fp32"),
        # The list does not show it. A thousand weights in fp32 take 4,000 bytes, which 3,999 cannot hold.
        ([OPAQUE], 3_999, "fp16"),
        ([OPAQUE], 4_000, "unknown"),
        (["nothing of the kind"], 10_000, "unknown"),
    ],
)
def test_precision_that_was_built(log, plan_bytes, precision):
    assert built_precision(log, plan_bytes, 1000) == precision


def test_graph_goes_into_tensorrt_whole(trained, tmp_path, run):
    """TensorRT takes uint8 only where it is cast at once (NVIDIA/TensorRT #3985), and one profile, for the pixels."""
    result = run("export", trained, "--fp16", "--output", tmp_path / "copy", "--max-drop", 20)
    assert result.code == 0, result.err
    for name in ("model.onnx", "model.fp16.onnx"):
        graph = onnx.load(tmp_path / "copy" / name).graph
        assert [node.op_type for node in graph.node if "pixels" in node.input] == ["Cast"]
        assert not {node.op_type for node in graph.node} & {"Shape", "Gather", "Range", "NonZero", "If", "Loop"}
    half, whole = tmp_path / "copy" / "model.fp16.onnx", trained / "model.onnx"
    assert half_weights(whole) == 0
    assert 0.8 < 2 * half_weights(half) / half.stat().st_size < 1


def test_an_engine_stays_here_when_the_bundle_is_published(tmp_path):
    from support.engines import with_engine

    from flowercli.evaluation.card import model_card
    from flowercli.hub.publish import plan

    bundle = with_engine(tmp_path)
    record = {"size": 1, "agreement": 1.0, "method": "TensorRT 10.16.0", "max_difference": 0.0}
    bundle.section["exports"]["model.plan"] = {**record, "compute_capability": "9.0", "max_batch": 64}
    assert "model.plan" not in model_card(bundle.config)
    published = plan(bundle, None).sent
    assert not [name for name in published if "trt" in name or "plan" in name]
    assert b"model.plan" not in published["config.json"]
    assert "model.fp16.onnx" in published
