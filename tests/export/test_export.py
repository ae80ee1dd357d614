"""``flowers export``: one self-contained file each, equal to torch, or refused and nothing written."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
torch = pytest.importorskip("torch", reason="needs the extra 'train'")

import onnxruntime as ort
import timm
from conftest import flowers
from PIL import Image
from timm.layers import use_fused_attn

from flowercli.bundle import FORMATS, Bundle, add_files
from flowercli.errors import ExportError
from flowercli.export import graph, parity
from flowercli.export.graph import load_deployed
from flowercli.inference.classifier import Outputs
from flowercli.inference.preprocess import INPUT


@pytest.fixture(scope="module")
def half(trained, tmp_path_factory):
    """Return what an export of fp16 gave: the copy of the bundle that has the file, and the run."""
    output = tmp_path_factory.mktemp("half") / "bundle"
    done = flowers("export", trained, "--fp16", "--output", output, "--json", "--max-drop", 20)
    assert done.code == 0, done.err
    return output, done


def session(path):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def test_graph_takes_pixels_and_gives_probabilities_and_embedding(half):
    for name in ("model.onnx", "model.fp16.onnx", "model.int8.onnx"):
        opened = session(half[0] / name)
        (given,), answers = opened.get_inputs(), opened.get_outputs()
        assert (given.name, given.type, given.shape) == ("pixels", "tensor(uint8)", ["batch", 96, 96, 3])
        assert [(answer.name, answer.type) for answer in answers] == [
            ("probabilities", "tensor(float)"),
            ("embedding", "tensor(float)"),
            ("known", "tensor(float)"),
        ]


@pytest.mark.parametrize("batch", [1, 3, 8, 17])
def test_fp32_equals_torch(trained, batch):
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, 96, 96, 3), dtype=np.uint8)
    probabilities, embedding, known = session(trained / "model.onnx").run(None, {"pixels": pixels})
    with torch.inference_mode():
        expected, expected_embedding, expected_known = load_deployed(Bundle.load(trained))(torch.from_numpy(pixels))
    assert np.abs(probabilities - expected.numpy()).max() < 1e-4
    assert np.abs(known - expected_known.numpy()).max() < 1e-4
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


def test_fp16_graph_is_half_and_its_head_is_not(trained, half):
    graph = onnx.load(half[0] / "model.fp16.onnx")
    onnx.checker.check_model(graph, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    weights = {node.op_type: {types[name] for name in node.input if name in types} for node in graph.graph.node}
    assert weights["Conv"] == {onnx.TensorProto.FLOAT16}
    assert weights["Gemm"] == {onnx.TensorProto.FLOAT}
    # One cast into half precision and one out of it for the embedding; the third makes numbers of the pixels.
    assert [node.op_type for node in graph.graph.node].count("Cast") == 3
    assert (half[0] / "model.fp16.onnx").stat().st_size < 0.6 * (trained / "model.onnx").stat().st_size


@pytest.mark.parametrize("batch", [1, 3])
def test_fp16_agrees_with_fp32(half, batch):
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, 96, 96, 3), dtype=np.uint8)
    whole, whole_embedding, whole_known = session(half[0] / "model.onnx").run(None, {"pixels": pixels})
    probabilities, embedding, known = session(half[0] / "model.fp16.onnx").run(None, {"pixels": pixels})
    assert np.abs(probabilities - whole).max() < 0.02
    assert np.abs(known - whole_known).max() < 0.02
    assert np.abs(embedding - whole_embedding).max() < 0.02 * np.abs(whole_embedding).max()
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_cpu_does_not_prefer_fp16_and_eval_shows_it(half, dataset, run):
    bundle, done = half
    (check,) = json.loads(done.out)["exports"]
    assert (check["file"], check["method"]) == ("model.fp16.onnx", "fp16")
    assert json.loads(done.out)["torch"]["accuracy"].keys() == {"value", "low", "high"}
    result = run("eval", bundle, "--split", "val", "--json")
    assert list(json.loads(result.out)["variants"]) == ["torch", "fp16", "onnx", "int8"]
    picture = dataset / "blue" / "000.jpg"
    assert "model.int8.onnx" in run("classify", picture, "--model", bundle, "--verbose").err


def test_table_has_what_one_wants_to_know(trained, tmp_path, run):
    result = run("export", trained, "--onnx", "--output", tmp_path / "copy")
    assert result.code == 0, result.err
    for word in (
        "model.onnx",
        "Max diff.",
        "Mean diff.",
        "Same answer",
        "Val accuracy",
        "Lost",
        "Latency",
        " ms",
        " pt",
    ):
        assert word in result.out
    check = json.loads((tmp_path / "copy" / "config.json").read_text())["flowers"]["exports"]["model.onnx"]
    assert 0 < check["latency_ms"] < 10_000
    assert check["accuracy"]["low"] <= check["accuracy"]["value"] <= check["accuracy"]["high"]


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_lone_onnx_classifies_from_elsewhere(trained, dataset, tmp_path, run, name):
    (tmp_path / "elsewhere").mkdir()
    lone = shutil.copy(trained / name, tmp_path / "elsewhere" / "moved.onnx")
    files = [dataset / colour / "000.jpg" for colour in ("blue", "green", "reds")]
    whole = json.loads((trained / "config.json").read_text())
    whole["flowers"]["files"] = {name: whole["flowers"]["files"][name]}
    (tmp_path / "bundle").mkdir()
    shutil.copy(trained / name, tmp_path / "bundle")
    (tmp_path / "bundle" / "config.json").write_text(json.dumps(whole))
    result = run("classify", *files, "--json", "--model", lone)
    assert result.code == 0, result.err
    # The same answers, rejection too, as those of the bundle it came from.
    assert result.out == run("classify", *files, "--json", "--model", tmp_path / "bundle").out
    assert json.loads(result.out.splitlines()[0])["predicted_class"] == "blue"


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
    result = run("export", own_bundle, "--onnx", "--fp16", "--int8", "--max-drop", "-200", "--json")
    assert result.code == 1
    for name in ("model.onnx", "model.fp16.onnx", "model.int8.onnx"):
        assert f"{name} loses" in result.err
    assert "points of validation accuracy; -200 are allowed. Nothing was written." in result.err
    refused = json.loads(result.out)
    assert refused["refused"]
    methods = [check["method"] for check in refused["exports"]]
    assert methods == ["fp32", "fp16", "minmax", "percentile", "entropy"]
    assert contents(own_bundle) == before


def with_faint_validation(bundle, dataset, scratch):
    """Give half of the training photographs to validation, and make all of validation faint: int8 must be good."""
    manifest = json.loads((bundle / "split.json").read_text())
    for photo in manifest["photos"]:
        if photo["split"] == "train" and int(photo["path"][-7:-4]) % 2:
            photo["split"] = "val"
    (scratch / "split.json").write_text(json.dumps(manifest))
    add_files(Bundle.load(bundle), {"split.json": scratch / "split.json"})
    validation = [photo["path"] for photo in manifest["photos"] if photo["split"] == "val"]
    for path, strength in zip(validation, np.tile(np.linspace(0.2, 0.35, 7), 20), strict=False):
        pixels = np.asarray(Image.open(dataset / path), dtype=np.float32)
        Image.fromarray(np.uint8(128 + strength * (pixels - 128))).save(dataset / path, quality=95)
    with_hashes_of_now(bundle, dataset, scratch)
    return [dataset / photo["path"] for photo in manifest["photos"] if photo["split"] == "train"]


def with_hashes_of_now(bundle, dataset, scratch):
    """Have the manifest of a bundle list the photographs as they are now."""
    manifest = json.loads((bundle / "split.json").read_text())
    for photo in manifest["photos"]:
        photo["sha256"] = hashlib.sha256((dataset / photo["path"]).read_bytes()).hexdigest()
    (scratch / "split.json").write_text(json.dumps(manifest))
    add_files(Bundle.load(bundle), {"split.json": scratch / "split.json"})


def test_int8_calibrated_on_bad_photographs_is_refused(own_bundle, own_dataset, tmp_path, run):
    training = with_faint_validation(own_bundle, own_dataset, tmp_path)
    arguments = ("export", own_bundle, "--int8", "--data", own_dataset, "--max-drop", 5)
    result = run(*arguments)
    assert result.code == 0, result.err
    # Plain grey calibrates every activation to the one value it has there; a real photograph is cut off.
    for path in training:
        Image.new("RGB", (160, 120), (120, 120, 120)).save(path)
    with_hashes_of_now(own_bundle, own_dataset, tmp_path)
    before = contents(own_bundle)
    result = run(*arguments, "--delivery", tmp_path / "delivery")
    assert result.code == 1
    assert "model.int8.onnx loses" in result.err
    assert "Nothing was written." in result.err
    for method in ("minmax", "percentile", "entropy"):
        assert method in result.out
    assert contents(own_bundle) == before
    assert not (tmp_path / "delivery").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_photograph_that_broke_since_is_named(own_bundle, own_dataset, run, split):
    photos = json.loads((own_bundle / "split.json").read_text())["photos"]
    name = next(photo["path"] for photo in photos if photo["split"] == split)
    path = own_dataset / name
    path.write_bytes(path.read_bytes()[:200])
    before = contents(own_bundle)
    result = run("export", own_bundle, "--int8", "--data", own_dataset)
    assert result.code == 1
    assert f"were edited since the model was trained ({name})" in result.err
    assert contents(own_bundle) == before


def test_overflow_of_half_precision_is_refused(trained):
    pixels = np.zeros((2, 4, 4, 3), dtype=np.uint8)

    def answers(batch, value):
        rows = len(batch)
        return Outputs(np.full((rows, 2), value, np.float32), np.ones((rows, 3), np.float32), np.ones(rows, np.float32))

    source = parity.ask_torch(pixels, np.zeros(2, np.int64), lambda batch: answers(batch, 1))

    def overflown(batch):
        return answers(batch, np.nan)

    with pytest.raises(ExportError, match="not numbers"):
        parity.compare(overflown, trained / "model.onnx", "model.fp16.onnx", "fp16", source)


def test_mlflow_model_answers_alone(trained, dataset, tmp_path, run):
    pd = pytest.importorskip("pandas")
    result = run("export", trained, "--mlflow", tmp_path / "model")
    assert result.code == 0, result.err
    assert "model.onnx" in result.out
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not [
        path
        for path in (tmp_path / "model").rglob("*")
        if path.is_file() and str(tmp_path).encode() in path.read_bytes()
    ]
    from flowercli.mlflow_quietly import import_mlflow

    picture = dataset / "blue" / "000.jpg"
    model = import_mlflow().pyfunc.load_model(str(tmp_path / "model"))
    (answer,) = model.predict(pd.DataFrame({"image": [base64.b64encode(picture.read_bytes()).decode()]}))
    lone = trained / "model.onnx"
    assert {"path": str(picture), **answer} == json.loads(run("classify", picture, "--json", "--model", lone).out)
    assert run("export", trained, "--mlflow", tmp_path / "model").code == 2


def test_graph_that_differs_is_refused():
    pixels = np.zeros((4, 2, 2, 3), dtype=np.uint8)

    def source(batch):
        rows = len(batch)
        return Outputs(np.full((rows, 2), 0.5, np.float32), np.ones((rows, 3), np.float32), np.ones(rows, np.float32))

    def shifted(batch):
        return source(batch)._replace(probabilities=source(batch).probabilities + 2e-4)

    def broken(batch):
        return source(batch)._replace(embedding=source(batch).embedding * np.float32("nan"))

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


class Branching(torch.nn.Module):
    """What torch's exporter cannot follow: its way depends on the pixels."""

    def __init__(self):
        super().__init__()
        self.model = SimpleNamespace(input_size=(4, 4))

    def forward(self, pixels):
        return pixels + 1.0 if pixels.sum() > 0 else pixels * 2.0


def test_what_torch_cannot_write_is_told(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "load_deployed", lambda _bundle: Branching().eval())
    with pytest.raises(ExportError, match=r"torch cannot write .* as ONNX: ") as caught:
        graph.export_fp32(Bundle.load(trained), tmp_path / "model.onnx")
    assert "Next steps" not in caught.value.message
    assert not (tmp_path / "model.onnx").exists()


class OfAttention(torch.nn.Module):
    """A network whose attention torch's exporter takes in steps alone, its outputs those of a graph."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        smaller = {"embed_dim": 24, "stages": (1, 1, 1, 1), "num_heads": 1}
        self.network = timm.create_model("hiera_tiny_224", num_classes=3, **smaller)
        self.model = SimpleNamespace(input_size=(224, 224))

    def forward(self, pixels):
        logits = self.network(pixels.float().permute(0, 3, 1, 2) / 255)
        return logits.softmax(dim=1), logits, logits[:, :1]


@pytest.mark.slow
def test_attention_that_torch_cannot_write_as_one_operation_is_written_in_steps(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "load_deployed", lambda _bundle: OfAttention().eval())
    graph.export_fp32(Bundle.load(trained), tmp_path / "model.onnx")
    assert use_fused_attn()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    answers = session(tmp_path / "model.onnx").run(None, {INPUT: pixels})
    with torch.inference_mode():
        expected = OfAttention().eval()(torch.from_numpy(pixels))
    assert all(np.allclose(one, other.numpy(), atol=1e-4) for one, other in zip(answers, expected, strict=True))


@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
def test_each_form_of_the_graph_has_an_option(form, run, tmp_path):
    result = run("export", tmp_path / "nowhere", form.option)
    assert result.code == 1
    assert "There is no model bundle" in result.err
