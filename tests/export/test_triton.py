"""``flowers export --triton``: configurations that Triton reads, and a server that answers as ``classify`` does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from conftest import FLOWERS, SAMPLES, flowers
from support.triton_server import running, server_python

from flowercli.bundle import Bundle, add_files
from flowercli.models import FOLDER

MODELS = ("flowers", "flowers_decode", "flowers_pixels")
SHIPPED = FOLDER / "flowers5"


def written(run, tmp_path, *options, bundle="flowers5"):
    """Export a bundle to a repository and return its folder."""
    folder = tmp_path / "repository"
    result = run("export", bundle, "--triton", folder, *options)
    assert result.code == 0, result.err
    return folder


def read_configs(repository):
    """Parse every config.pbtxt as the message that the server reads."""
    pytest.importorskip("grpc", reason="needs tritonclient with gRPC: nox -s triton")
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    texts = {path.parent.name: path.read_text() for path in repository.glob("*/config.pbtxt")}
    assert sorted(texts) == list(MODELS)
    return {name: text_format.Parse(text, ModelConfig()) for name, text in texts.items()}


@pytest.fixture
def with_plan(tmp_path):
    """Return a bundle that lists an engine for one kind of GPU; nothing here runs it."""
    bundle = Bundle.load(shutil.copytree(SHIPPED, tmp_path / "with-plan"))
    (tmp_path / "made.plan").write_bytes(b"an engine")
    record = {"model.plan": {"compute_capability": "9.0", "max_batch": 16}}
    return add_files(bundle, {"model.plan": tmp_path / "made.plan"}, exports=record).path


def test_onnxruntime_repository(run, tmp_path):
    repository = written(run, tmp_path)
    configs = read_configs(repository)
    pixels = configs["flowers_pixels"]
    assert (pixels.backend, pixels.platform, pixels.max_batch_size) == ("onnxruntime", "onnxruntime_onnx", 64)
    assert list(pixels.input[0].dims) == [224, 224, 3]
    assert {output.name: list(output.dims) for output in pixels.output if output.name != "known"} == {
        "probabilities": [5], "embedding": [1280],
    }  # fmt: skip
    assert pixels.HasField("dynamic_batching")
    assert [warm_up.batch_size for warm_up in pixels.model_warmup] == [1, 8]
    assert pixels.instance_group[0].kind == pixels.instance_group[0].KIND_AUTO
    model = repository / "flowers_pixels" / "1" / pixels.default_model_filename
    assert model.read_bytes() == (SHIPPED / "model.int8.onnx").read_bytes()
    assert {path.name for path in model.parent.iterdir()} == {"model.onnx"}


@pytest.mark.parametrize(("backend", "graph"), [("onnxruntime", "model.fp16.onnx"), ("python", "model.int8.onnx")])
def test_half_precision_is_for_the_backend_that_runs_on_gpus(run, tmp_path, backend, graph):
    bundle = Bundle.load(shutil.copytree(SHIPPED, tmp_path / "bundle"))
    shutil.copy(bundle.path / "model.int8.onnx", tmp_path / "half")
    with (tmp_path / "half").open("ab") as file:
        file.write(b"\x08\x08")  # The version of the format once more: another file, the same graph.
    add_files(bundle, {"model.fp16.onnx": tmp_path / "half"})
    repository = written(run, tmp_path, "--triton-backend", backend, bundle=bundle.path)
    model = repository / "flowers_pixels" / "1" / "model.onnx"
    assert model.read_bytes() == (bundle.path / graph).read_bytes()


def test_tensors_of_the_ensemble_are_those_of_its_steps(run, tmp_path):
    configs = read_configs(written(run, tmp_path))
    ensemble = configs["flowers"]
    known = {tensor.name: tensor for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        model = configs[step.model_name]
        assert model.max_batch_size == ensemble.max_batch_size
        for tensor in model.input:
            given = known[step.input_map[tensor.name]]
            assert (given.data_type, given.dims) == (tensor.data_type, tensor.dims)
        known |= {step.output_map[tensor.name]: tensor for tensor in model.output}
    for tensor in ensemble.output:
        assert (known[tensor.name].data_type, known[tensor.name].dims) == (tensor.data_type, tensor.dims)


@pytest.mark.parametrize("backend", ["onnxruntime", "python"])
@pytest.mark.parametrize("known", [True, False])
def test_known_is_given_by_what_has_it(run, tmp_path, backend, known):
    from support.colour_model import colour_bundle  # It needs the extra 'train'.

    bundle = colour_bundle(tmp_path / "model", known=known)
    repository = written(run, tmp_path, "--triton-backend", backend, bundle=bundle.path)
    for model in ("flowers", "flowers_pixels"):
        # Of a graph without it, the Python backend says what stands in for it.
        assert ('"known"' in (repository / model / "config.pbtxt").read_text()) == (known or backend == "python")


def test_labels_are_the_class_names(run, tmp_path):
    repository = written(run, tmp_path)
    for name, config in read_configs(repository).items():
        for output in config.output:
            if output.name == "probabilities":
                assert (repository / name / output.label_filename).read_text().split() == list(FLOWERS)


def test_tensorrt_repository_names_the_engine_of_each_gpu(run, tmp_path, with_plan):
    repository = written(run, tmp_path, "--triton-backend", "tensorrt", bundle=with_plan)
    configs = read_configs(repository)
    pixels = configs["flowers_pixels"]
    assert pixels.platform == "tensorrt_plan"
    assert dict(pixels.cc_model_filenames) == {"9.0": "model_cc90.plan"}
    # Without a file for it, no other GPU is handed this engine.
    assert not pixels.default_model_filename
    assert (repository / "flowers_pixels" / "1" / "model_cc90.plan").read_bytes() == b"an engine"
    assert {config.max_batch_size for config in configs.values()} == {16}


def test_quotes_in_names_are_escaped():
    pytest.importorskip("grpc", reason="needs tritonclient with gRPC: nox -s triton")
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from flowercli.export.triton_config import to_text

    name = 'a "b" \\ ü\n'
    assert text_format.Parse(to_text({"name": name}), ModelConfig()).name == name


@pytest.mark.parametrize("source", ["flowers5/model.int8.onnx", "flowers5"])
def test_a_lone_onnx_or_a_folder_is_enough(run, tmp_path, source):
    result = run("export", FOLDER / source, "--triton", tmp_path / "r", "--triton-backend", "python", "--json")
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer == {
        "version": 1,
        "repository": str(tmp_path / "r"),
        "backend": "python",
        "graph": "model.int8.onnx",
        "models": list(MODELS),
    }
    assert (tmp_path / "r" / "requirements.txt").read_text().startswith("pillow==")


def test_what_is_refused_leaves_nothing(run, tmp_path):
    altered = shutil.copytree(SHIPPED, tmp_path / "altered")
    (altered / "model.int8.onnx").write_bytes(b"x")
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for bundle, target, backend, code, message in (
        ("flowers5", "there", "python", 2, "there exists already"),
        ("flowers5", "new", "openvino", 2, "choose one of onnxruntime, python, tensorrt"),
        ("flowers5", "new", "tensorrt", 1, "has no model.plan"),
        (altered, "new", "python", 1, "model.int8.onnx is not the file"),
        ("nowhere", "new", "python", 1, "no model bundle"),
    ):
        result = run("export", bundle, "--triton", tmp_path / target, "--triton-backend", backend)
        assert (result.code, result.out) == (code, "")
        assert message in result.err
        assert sorted(tmp_path.rglob("*")) == before


def test_existing_folder_is_refused_before_other_exports(own_bundle, run, tmp_path):
    result = run("export", own_bundle, "--onnx", "--triton", tmp_path)
    assert result.code == 2
    assert "Exporting" not in result.err


def test_exports_and_repository_in_one_run(own_bundle, run, tmp_path):
    result = run("export", own_bundle, "--onnx", "--triton", tmp_path / "r", "--json")
    assert result.code == 0, result.err
    checks, repository = map(json.loads, result.out.splitlines())
    assert checks["exports"][0]["file"] == repository["graph"] == "model.onnx"
    model = tmp_path / "r" / "flowers_pixels" / "1" / "model.onnx"
    assert model.read_bytes() == (own_bundle / "model.onnx").read_bytes()


def test_decoding_needs_neither_this_package_nor_onnxruntime(run, tmp_path):
    folder = written(run, tmp_path) / "flowers_decode" / "1"
    code = (
        "import sys, json; sys.modules['onnxruntime'] = None; sys.path.insert(0, sys.argv[1])\n"
        "from flowercli.inference.cpu import available_cores\n"
        "from flowercli.inference.preprocess import PreprocessSpec, load_pixels\n"
        "spec = PreprocessSpec.from_pretrained_cfg(json.load(open(sys.argv[1] + '/preprocess.json')))\n"
        "print(load_pixels(sys.argv[2], spec).shape, sys.modules['flowercli'].__file__)"
    )
    command = [sys.executable, "-I", "-c", code, folder, SAMPLES / "rose.jpg"]
    assert subprocess.check_output(command, text=True).strip() == f"(224, 224, 3) {folder}/flowercli/__init__.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serve the shipped model, all of it in the Python backend: the binary that can be had has no other."""
    python = server_python()
    installed = subprocess.run([python, "-I", "-c", "import flowercli"], capture_output=True, check=False)
    assert installed.returncode != 0, "the server is to get along without this package"
    folder = tmp_path_factory.mktemp("triton")
    done = flowers("export", "flowers5", "--triton", folder / "repository", "--triton-backend", "python")
    assert done.code == 0, done.err
    with running(folder / "repository", folder) as started:
        yield started


@pytest.fixture(params=["http", "grpc"])
def ask(request, server):
    """Return the function that asks the ensemble about files, over each protocol."""
    pytest.importorskip("grpc", reason="needs tritonclient with gRPC: nox -s triton")
    module = pytest.importorskip(f"tritonclient.{request.param}", reason="needs tritonclient: nox -s triton")

    def call(*contents, classes=0):
        image = module.InferInput("image", [len(contents), 1], "BYTES")
        image.set_data_from_numpy(np.array([[content] for content in contents], dtype=object))
        wanted = [
            module.InferRequestedOutput("probabilities", class_count=classes),
            *map(module.InferRequestedOutput, ("embedding", "known")),
        ]
        with module.InferenceServerClient(getattr(server, request.param)) as client:
            answer = client.infer("flowers", [image], outputs=wanted)
        return [answer.as_numpy(name) for name in ("probabilities", "embedding", "known")]

    return call


@cache
def classified(*pictures):
    """Return what ``flowers classify`` answers, once for both protocols."""
    answers = [json.loads(line) for line in flowers("classify", *pictures, "--json", "-k", 0).out.splitlines()]
    assert len(answers) == len(pictures)
    return answers


def check_same_answers(ask, pictures, batch=8):
    """Hold the server's answers to those of ``flowers classify``."""
    answers = classified(*pictures)
    contents = [picture.read_bytes() for picture in pictures]
    found = [ask(*contents[start : start + batch])[0] for start in range(0, len(contents), batch)]
    for answer, probabilities in zip(answers, np.concatenate(found), strict=True):
        assert FLOWERS[probabilities.argmax()] == answer["predicted_class"]
        expected = [answer["all_predictions"][name] for name in FLOWERS]
        assert np.abs(probabilities - expected).max() < 1e-4


def test_samples_get_the_answers_of_classify(ask):
    check_same_answers(ask, sorted(SAMPLES.glob("*.jpg")))


@pytest.mark.photos
def test_photographs_get_the_answers_of_classify(ask, photos):
    check_same_answers(ask, [path for folder in sorted(photos.glob("*/")) for path in sorted(folder.glob("*.jpg"))[:4]])


def test_class_names_and_embedding(ask):
    contents = [(SAMPLES / f"{name}.jpg").read_bytes() for name in ("rose", "tulip")]
    top, embedding, known = ask(*contents, classes=2)
    assert top.shape == (2, 2)
    assert [row[0].decode().split(":")[1:] for row in top] == [["2", "rose"], ["4", "tulip"]]
    assert embedding.shape == (2, 1280)
    assert np.abs(embedding).max() > 0
    wanted = [classified(SAMPLES / f"{name}.jpg")[0]["known"] for name in ("rose", "tulip")]
    assert known.tolist() == [[pytest.approx(value, abs=1e-4)] for value in wanted]


def test_bad_pictures_are_named_and_the_server_lives(ask):
    from tritonclient.utils import InferenceServerException

    rose = (SAMPLES / "rose.jpg").read_bytes()
    for contents, message in (
        ((b"not a picture",), "Picture 0: not_an_image"),
        ((rose, b""), "Picture 1: empty"),
        ((rose, rose, rose[: len(rose) // 2]), "Picture 2: truncated"),
        ((b"\xff" * (32 * 2**20 + 1),), "Picture 0: too_large"),
        ((rose,) * 65, "batch-size must be <= 64"),
    ):
        with pytest.raises(InferenceServerException) as refused:
            ask(*contents)
        assert message in refused.value.message()
        assert "Traceback" not in refused.value.message()
        assert refused.value.status() in {"400", "StatusCode.INVALID_ARGUMENT"}
    assert FLOWERS[ask(rose)[0].argmax()] == "rose"


def test_a_bad_picture_spoils_no_other_request(ask):
    from tritonclient.utils import InferenceServerException

    rose = (SAMPLES / "rose.jpg").read_bytes()

    def one(number):
        try:
            return FLOWERS[ask(b"bad" if number % 3 == 0 else rose)[0].argmax()]
        except InferenceServerException:
            return "bad"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(24)))
    assert answers == ["bad" if number % 3 == 0 else "rose" for number in range(24)]


def test_a_file_alone_is_a_request(server):
    content = (SAMPLES / "daisy.jpg").read_bytes()
    url, headers = f"http://{server.http}/v2/models/flowers/infer", {"Inference-Header-Content-Length": "0"}
    with urllib.request.urlopen(urllib.request.Request(url, content, headers), timeout=30) as response:
        header = json.loads(response.read(int(response.headers["Inference-Header-Content-Length"])))
        tensors = {
            output["name"]: response.read(output["parameters"]["binary_data_size"]) for output in header["outputs"]
        }
    assert FLOWERS[np.frombuffer(tensors["probabilities"], np.float32).argmax()] == "daisy"
