"""``flowers export``: one self-contained file each, equal to torch, or refused and nothing written."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
torch = pytest.importorskip("torch", reason="needs the extra 'train'")

import onnxruntime as ort
from conftest import flowers

from flowercli.bundle import Bundle
from flowercli.errors import ExportError
from flowercli.export import parity
from flowercli.export.graph import load_deployed


def session(path):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def test_graph_takes_pixels_and_gives_probabilities_and_embedding(trained):
    for name in ("model.onnx", "model.int8.onnx"):
        opened = session(trained / name)
        (given,), answers = opened.get_inputs(), opened.get_outputs()
        assert (given.name, given.type, given.shape) == ("pixels", "tensor(uint8)", ["batch", 96, 96, 3])
        assert [(answer.name, answer.type) for answer in answers] == [
            ("probabilities", "tensor(float)"),
            ("embedding", "tensor(float)"),
        ]


@pytest.mark.parametrize("batch", [1, 3, 8, 17])
def test_fp32_equals_torch(trained, batch):
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, 96, 96, 3), dtype=np.uint8)
    probabilities, embedding = session(trained / "model.onnx").run(None, {"pixels": pixels})
    with torch.inference_mode():
        expected, expected_embedding = load_deployed(Bundle.load(trained))(torch.from_numpy(pixels))
    assert np.abs(probabilities - expected.numpy()).max() < 1e-4
    assert np.allclose(embedding, expected_embedding.numpy(), atol=1e-4)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_int8_graph_is_quantized_and_alone(trained):
    graph = onnx.load(trained / "model.int8.onnx")
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("DequantizeLinear") > 20
    assert not any(tensor.external_data for tensor in graph.graph.initializer)
    assert (trained / "model.int8.onnx").stat().st_size < 0.6 * (trained / "model.onnx").stat().st_size
    text = (trained / "model.onnx").read_bytes()
    assert b"site-packages" not in text
    assert b"/flowercli/" not in text
    assert str(trained.parent).encode() not in text


def test_lone_onnx_classifies_from_elsewhere(trained, dataset, tmp_path, run):
    lone = shutil.copy(trained / "model.onnx", tmp_path / "moved.onnx")
    answer = json.loads(run("classify", dataset / "blue" / "000.jpg", "--json", "--model", lone).out)
    assert answer["predicted_class"] == "blue"


def test_export_again_replaces_and_stays_valid(own_bundle, run):
    result = run("export", own_bundle, "--onnx", "--json")
    assert result.code == 0, result.err
    check = json.loads(result.out)["exports"][0]
    assert check["file"] == "model.onnx"
    assert check["agreement"] == 1
    assert check["max_difference"] < 1e-4
    Bundle.load(own_bundle).verify()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_lost_accuracy_is_refused_and_nothing_written(own_bundle, run):
    before = contents(own_bundle)
    result = run("export", own_bundle, "--int8", "--max-drop", "-200")
    assert result.code == 1
    assert "int8 loses more than" in result.err
    assert contents(own_bundle) == before


def test_graph_that_differs_is_refused():
    pixels = np.zeros((4, 2, 2, 3), dtype=np.uint8)

    def source(batch):
        return np.full((len(batch), 2), 0.5, np.float32), np.ones((len(batch), 3), np.float32)

    def shifted(batch):
        probabilities, embedding = source(batch)
        return probabilities + 2e-4, embedding

    def broken(batch):
        probabilities, embedding = source(batch)
        return probabilities, embedding * np.float32("nan")

    parity.check_batches("same", source, source, pixels)
    for answers in (shifted, broken):
        with pytest.raises(ExportError, match="differs from torch"):
            parity.check_batches("other", answers, source, pixels)


def test_nothing_to_export_and_wrong_bundles(own_bundle, run, tmp_path):
    assert run("export", own_bundle).code == 2
    assert run("export", own_bundle / "model.onnx", "--onnx").code == 2
    (own_bundle / "model.safetensors").write_bytes(b"x")
    result = run("export", own_bundle, "--onnx")
    assert result.code == 1
    assert "model.safetensors is not the file" in result.err
    assert run("export", tmp_path, "--onnx").code == 1


def test_classify_says_how_to_export(own_bundle, dataset, run):
    config = json.loads((own_bundle / "config.json").read_text())
    for name in ("model.onnx", "model.int8.onnx"):
        config["flowers"]["files"].pop(name)
    (own_bundle / "config.json").write_text(json.dumps(config))
    result = run("classify", dataset, "--model", own_bundle)
    assert result.code == 1
    assert f"flowers export {own_bundle} --onnx --int8" in result.err


def test_progress_goes_to_stderr(own_bundle):
    done = flowers("export", own_bundle, "--onnx", "--json")
    assert done.code == 0
    assert len(done.out.splitlines()) == 1
    assert "Exporting fp32" in done.err
