"""On a GPU, by ``nox -s gpu``: sessions on CUDA and TensorRT, an engine built, used, refused and built anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import flowers

from flowercli.bundle import Bundle, add_files
from flowercli.inference.classifier import Classifier
from flowercli.inference.engine import this_machine, unusable
from flowercli.inference.pinned import is_pinned
from flowercli.inference.probe import cuda_obstacles, tensorrt_obstacles

OBSTACLE = next(cuda_obstacles(), None)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(OBSTACLE is not None, reason=f"no GPU: {OBSTACLE and OBSTACLE.reason}"),
]


@pytest.fixture(scope="module")
def half(trained, tmp_path_factory):
    """Return a bundle with a graph in half precision, which CUDA alone runs."""
    output = tmp_path_factory.mktemp("half") / "bundle"
    done = flowers("export", trained, "--fp16", "--output", output, "--max-drop", 20)
    assert done.code == 0, done.err
    return output


@pytest.fixture(scope="module")
def built(trained, tmp_path_factory):
    """Return a bundle with an engine, and the run that built it."""
    if missing := next(tensorrt_obstacles(), None):
        pytest.skip(f"no TensorRT: {missing.reason}")
    output = tmp_path_factory.mktemp("built") / "bundle"
    done = flowers("export", trained, "--trt", "--output", output, "--json", "--max-drop", 20, timeout=1200)
    assert done.code == 0, done.err
    return output, done


@pytest.fixture
def own(built, tmp_path):
    """Return a copy of it that a test may change."""
    return Path(shutil.copytree(built[0], tmp_path / "bundle"))


@pytest.fixture
def bundle(request, device):
    """Return the folder of a bundle that a device runs."""
    return request.getfixturevalue("built")[0] if device == "tensorrt" else request.getfixturevalue("half")


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_answers_as_the_cpu_does(bundle, dataset, run, device):
    """CUDA takes the fp16 graph, TensorRT the engine; neither is the graph of the CPU."""
    picture = dataset / "blue" / "000.jpg"
    expected = json.loads(run("classify", picture, "--json", "--device", "cpu", "--model", bundle).out)
    result = run("classify", picture, "--json", "--verbose", "--device", device, "--model", bundle)
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer["predicted_class"] == expected["predicted_class"]
    assert answer["confidence"] == pytest.approx(expected["confidence"], abs=0.1)
    assert f"on {device} ({'model.trt.onnx' if device == 'tensorrt' else 'model.fp16.onnx'})" in result.err


def test_engine_is_described_and_checked(built):
    bundle = Bundle.load(built[0])
    bundle.verify()
    machine = this_machine()
    assert machine is not None
    assert unusable(bundle, machine) == []
    sidecar = json.loads((built[0] / "model.trt.json").read_text())
    assert sidecar["precision"] == "fp16"
    assert sidecar["tensorrt"] == machine.tensorrt
    record = bundle.section["exports"]["model.plan"]
    assert (record["compute_capability"], record["max_batch"]) == (machine.compute_capability, 64)
    assert record["agreement"] > 0.95
    checks = [check["file"] for check in json.loads(built[1].out)["exports"]]
    assert checks == ["model.fp16.onnx", "model.plan"]
    assert "Building a TensorRT engine" in built[1].err


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_every_batch_of_the_profile(built, batch):
    classifier = Classifier.open(Bundle.load(built[0]), "tensorrt")
    assert classifier.runtime.graph == "model.trt.onnx"
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, 96, 96, 3), dtype=np.uint8)
    outputs = classifier.run(pixels)
    expected = Classifier.open(Bundle.load(built[0]), "cuda").run(pixels)
    assert outputs.probabilities.shape == (batch, 3)
    assert np.abs(outputs.probabilities - expected.probabilities).max() < 0.05
    assert np.abs(outputs.embedding - expected.embedding).max() < 0.05 * np.abs(expected.embedding).max()
    assert np.abs(outputs.known - expected.known).max() < 0.05


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_no_answer_depends_on_its_batch(bundle, dataset, run, device):
    """Half precision rounds otherwise in another batch; the flower stays, but where two are as probable."""
    same = ("classify", dataset, "--json", "--top-k", 0, "--device", device, "--model", bundle)
    alone, *others = (
        run(*same, *more) for more in (("--batch-size", 1), (), ("--batch-size", 8), ("--batch-size", 64))
    )
    expected = [json.loads(line) for line in alone.out.splitlines()]
    assert len(expected) == 120
    for other in others:
        assert other.code == 0, other.err
        for line, wanted in zip(other.out.splitlines(), expected, strict=True):
            answer = json.loads(line)
            assert answer["path"] == wanted["path"]
            assert answer["all_predictions"] == pytest.approx(wanted["all_predictions"], abs=0.01)


def test_runs_on_cuda_are_recorded_and_replayed(half):
    """What comes of a replay is that of the pictures at hand, not of those that were recorded, for each size."""
    classifier = Classifier.open(Bundle.load(half), "cuda")
    session = classifier._session
    assert session.session.get_provider_options()["CUDAExecutionProvider"]["enable_cuda_graph"] == "1"
    assert sorted(session.measured()) == [1, 8, 64]
    on_cpu = Classifier.open(Bundle(half / "model.fp16.onnx", classifier.bundle.config), "cpu")
    for count in (1, 8, 64, 5, 1, 70):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
        expected = on_cpu.run(pixels).embedding
        assert np.abs(classifier.run(pixels).embedding - expected).max() < 0.05 * np.abs(expected).max()


def test_pixels_wait_in_memory_that_the_gpu_reaches(half):
    Classifier.open(Bundle.load(half), "cuda")
    assert is_pinned()


@pytest.mark.parametrize(("field", "value"), [("tensorrt", "10.0.1"), ("compute_capability", "1.0"), ("driver", "1.2")])
def test_engine_of_another_machine_is_built_anew_once(own, dataset, tmp_path, monkeypatch, field, value):
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path / "home"))
    sidecar = json.loads((own / "model.trt.json").read_text())
    (tmp_path / "sidecar").write_text(json.dumps({**sidecar, field: value}))
    add_files(Bundle.load(own), {"model.trt.json": tmp_path / "sidecar"})
    command = ("classify", dataset / "blue" / "000.jpg", "--json", "--device", "tensorrt", "--model", own)
    first = flowers(*command, timeout=1200)
    assert first.code == 0, first.err
    assert "is not used: built " in first.err
    assert "this takes minutes, once" in first.err
    again = flowers(*command)
    assert again.out == first.out
    assert "this takes minutes" not in again.err


def test_triton_repository_holds_the_engine(built, tmp_path, run):
    result = run("export", built[0], "--triton", tmp_path / "r", "--triton-backend", "tensorrt")
    assert result.code == 0, result.err
    capability = Bundle.load(built[0]).section["exports"]["model.plan"]["compute_capability"].replace(".", "")
    plan = tmp_path / "r" / "flowers_pixels" / "1" / f"model_cc{capability}.plan"
    assert plan.read_bytes() == (built[0] / "model.plan").read_bytes()
