"""The bundle: whole or refused, valid at every moment of writing, alone as one .onnx too."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from flowercli import bundle as bundles
from flowercli.bundle import Bundle, add_files
from flowercli.errors import BundleError, FlowersError
from flowercli.inference.classifier import Classifier
from flowercli.installed import Installed, folder_of, record
from flowercli.models import load_model
from flowercli.plain_file import MOST_BYTES


def minimal(folder):
    config = {
        "architecture": "x",
        "num_classes": 2,
        "label_names": ["a", "b"],
        "pretrained_cfg": {},
        "flowers": {"temperature": 1.0, "rejection_threshold": 0.5},
    }
    content = folder.parent / "content"
    content.write_bytes(b"one")
    return bundles.create(folder, config, {"model.onnx": content})


def edit(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_written_bundle_verifies(tmp_path):
    minimal(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b")
    loaded.verify()
    assert loaded.class_names == ["a", "b"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["config.json", "model.onnx"]


@pytest.mark.parametrize(("name", "classes", "size"), [("flowers5", 5, 5_000_000), ("garden", 106, 6_000_000)])
def test_shipped_model_verifies(name, classes, size):
    loaded = load_model(name)
    loaded.verify()
    assert len(loaded.class_names) == classes
    assert {"daisy", "dandelion", "rose", "sunflower", "tulip"} <= set(loaded.class_names)
    assert loaded.file("model.int8.onnx").stat().st_size <= size
    text = (loaded.path / "config.json").read_text()
    assert "data_path" not in text
    assert b"data_path" not in loaded.file("model.int8.onnx").read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["flowers"].update(format_version=2), "format 2"),
        (lambda c: c["flowers"].pop("format_version"), "format None"),
        (lambda c: c.pop("flowers"), "timm model"),
        (lambda c: c["flowers"].update(scientific_names="Rosa"), "scientific_names is not a list"),
        (lambda c: c["flowers"].update(scientific_names=["Rosa", 1]), "scientific_names is not a list"),
        (lambda c: c["flowers"].update(scientific_names=[None]), "2 classes but has 1 scientific names"),
        (lambda c: c.pop("label_names"), "label_names missing"),
        (lambda c: c.update(num_classes=3), "names 2 classes but has 3"),
        (lambda c: c.update(label_names="ab"), "label_names"),
        (lambda c: c["flowers"].update(temperature="hot"), "temperature"),
        (lambda c: c["flowers"].update(temperature=0), "temperature is not above zero"),
        (lambda c: c["flowers"].update(rejection_threshold=float("nan")), "NaN is no JSON"),
        (lambda c: c["flowers"].update(rejection_threshold=1.5), "rejection_threshold is not between"),
        (lambda c: c["flowers"].update(rejection_threshold=True), "rejection_threshold is not a number"),
        (lambda c: c["flowers"].update(files=[]), "files is no object"),
        (lambda c: c["flowers"].update(files={"model.onnx": 3}), "neither size nor sha256"),
        (lambda c: c["flowers"].update(files={"..": {"sha256": "0" * 64, "size": 0}}), "plain file name"),
        (lambda c: c["flowers"].update(embedding_size="1e9"), "embedding_size"),
        (lambda c: c["flowers"].update(exports=[]), "exports is no object"),
        (lambda c: c.update(num_classes=2.0), "num_classes"),
        (lambda c: c.update(label_names=["a", "a"]), "a name twice"),
        (lambda c: c.update(pretrained_cfg=None), "pretrained_cfg is no object"),
        (lambda c: c.update(architecture=["x"]), "architecture is no name"),
        (lambda c: c["flowers"].update(metrics={"test": 5}), "metrics of 'test' are no object"),
        (lambda c: c["flowers"].update(metrics={"test": {"onnx": 5}}), "say no accuracy of 'onnx'"),
        (lambda c: c["flowers"].update(metrics={"val": {"onnx": {"accuracy": {"value": "1"}}}}), "say no accuracy"),
        (lambda c: c["flowers"].update(files={"../../x": {"sha256": "", "size": 0}}), "plain file name"),
    ],
)
def test_unfit_descriptions_are_refused(tmp_path, change, words):
    minimal(tmp_path / "b")
    edit(tmp_path / "b", change)
    with pytest.raises(BundleError, match=words):
        Bundle.load(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_size": [3, 10**9, 10**9]}, "not supported"),
        ({"input_size": [3, float("inf"), 1]}, "NaN|Infinity"),
        ({"mean": [0, 0]}, "not supported"),
        ({"std": [1, 0, 1]}, "not supported"),
        ({"std": [1e-300] * 3}, "not supported"),
        ({"mean": [1e300] * 3}, "not supported"),
        ({"crop_pct": 5e-324}, "not supported"),
        ({"std": "abc"}, "incomplete"),
        ({"interpolation": ["bicubic"]}, "not supported"),
        ({"input_size": [3, 96, 96]}, "does not fit its description: pixels"),
    ],
)
def test_a_preprocess_spec_that_cannot_be_meant_is_refused(tmp_path, change, words):
    shutil.copytree(load_model(None).path, tmp_path / "b")
    edit(tmp_path / "b", lambda config: config["pretrained_cfg"].update(change))
    with pytest.raises(BundleError, match=words):
        Classifier.open(Bundle.load(tmp_path / "b"), "cpu")


def test_labels_that_do_not_fit_the_graph_are_refused(tmp_path):
    shutil.copytree(load_model(None).path, tmp_path / "b")
    edit(tmp_path / "b", lambda config: config.update(num_classes=2, label_names=["a", "b"]))
    edit(tmp_path / "b", lambda config: config["flowers"].pop("scientific_names"))
    with pytest.raises(BundleError, match=r"probabilities is tensor\(float\) .*106\], not"):
        Classifier.open(Bundle.load(tmp_path / "b"), "cpu")


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", "[" * 100_000])
def test_damaged_description_is_refused(tmp_path, content):
    minimal(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text(content)
    with pytest.raises(BundleError, match="damaged"):
        Bundle.load(tmp_path / "b")


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (os.mkfifo, "not a plain file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a plain file"),
        (lambda path: path.mkdir(), "not a plain file"),
        (lambda path: path.write_bytes(bytes(MOST_BYTES + 1)), "more than 64 MiB"),
    ],
)
def test_description_that_never_ends_is_refused(tmp_path, put, words):
    minimal(tmp_path / "b")
    (tmp_path / "b" / "config.json").unlink()
    put(tmp_path / "b" / "config.json")
    with pytest.raises(BundleError, match=words):
        Bundle.load(tmp_path / "b")


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["flowers"].update(metrics={"test": {"onnx": 5}}),
        lambda config: config.update(pretrained_cfg={}),
        lambda config: config.clear(),
    ],
)
def test_a_damaged_model_leaves_the_others_in_the_list(tmp_path, monkeypatch, run, change):
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path))
    shutil.copytree(load_model("flowers5").path, folder_of("model", "me/bad"))
    edit(folder_of("model", "me/bad"), change)
    record(Installed("model", "me/bad", "me/bad", "0" * 40, None, 1, "2026-01-01T00:00:00+00:00"))
    result = run("models")
    assert result.code == 0
    assert "garden (default)" in result.out
    assert "flowers download model me/bad" in " ".join(result.err.split())


def test_altered_and_missing_files_are_named(tmp_path):
    minimal(tmp_path / "b")
    model = tmp_path / "b" / "model.onnx"
    model.write_bytes(b"two")
    with pytest.raises(BundleError, match=r"model\.onnx is not the file"):
        Bundle.load(tmp_path / "b").verify()
    model.unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        Bundle.load(tmp_path / "b").verify()


def test_no_bundle_at_all(tmp_path):
    for path in (tmp_path, tmp_path / "none", tmp_path / "none.onnx"):
        with pytest.raises(BundleError):
            Bundle.load(path)
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(BundleError, match="not a readable ONNX"):
        Bundle.load(tmp_path / "junk.onnx")


@pytest.mark.parametrize("stop_at", range(4))
def test_interrupted_replacement_leaves_a_valid_bundle(tmp_path, monkeypatch, stop_at):
    """Stop ``add_files`` after each of its writes: what is on disk verifies every time."""
    loaded = minimal(tmp_path / "b")
    new = tmp_path / "new"
    new.write_bytes(b"another content")
    done = []

    def counting(real):
        def call(*arguments):
            if len(done) == stop_at:
                raise KeyboardInterrupt
            done.append(real.__name__)
            return real(*arguments)

        return call

    for name in ("write_text", "replace_file"):
        monkeypatch.setattr(bundles, name, counting(getattr(bundles, name)))
    try:
        add_files(loaded, {"model.onnx": new})
    except KeyboardInterrupt:
        assert len(done) == stop_at
    else:
        assert done == ["write_text", "replace_file", "write_text"]
    Bundle.load(tmp_path / "b").verify()


def test_lone_onnx_says_what_it_is(tmp_path):
    shipped = load_model(None)
    lone = tmp_path / "elsewhere.onnx"
    shutil.copy(shipped.file("model.int8.onnx"), lone)
    loaded = Bundle.load(lone)
    assert loaded.is_lone_onnx
    assert loaded.class_names == shipped.class_names
    assert loaded.pretrained_cfg == shipped.pretrained_cfg
    assert loaded.temperature == shipped.temperature
    with pytest.raises(BundleError):
        loaded.file("model.onnx")


def test_every_error_has_a_documented_exit_code():
    def all_below(cls):
        return [cls, *(found for child in cls.__subclasses__() for found in all_below(child))]

    assert {cls.exit_code for cls in all_below(FlowersError)} == {1, 2, 3, 4, 130}
