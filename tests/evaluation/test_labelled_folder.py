"""``flowers eval`` on photographs that a model was not made from: any folder with one subfolder a class."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import FLOWERS, SAMPLES
from PIL import Image

from flowercli.bundle import Bundle
from flowercli.data.manifest import Manifest
from flowercli.inference.probe import cuda_obstacles
from flowercli.models import FOLDER


@pytest.fixture
def labelled(tmp_path):
    """Folders that are called as datasets call them, one of a flower that flowers5 does not know, and walls."""
    root = tmp_path / "mine"
    for name in FLOWERS:
        folder = root / ("roses" if name == "rose" else name)
        folder.mkdir(parents=True)
        shutil.copy(SAMPLES / f"{name}.jpg", folder / "1.jpg")
    (root / "orchid").mkdir()
    Image.new("RGB", (64, 64), (90, 90, 90)).save(root / "orchid" / "1.png")
    walls = tmp_path / "walls"
    walls.mkdir()
    Image.new("RGB", (64, 64), (120, 120, 120)).save(walls / "1.png")
    return root, walls


def metrics_of(result):
    assert result.code == 0, result.err
    (metrics,) = json.loads(result.out)["variants"].values()
    return metrics


def test_classes_are_mapped_and_others_are_to_be_refused(run, labelled):
    root, walls = labelled
    result = run("eval", "flowers5", "--data", root, "--json")
    metrics = metrics_of(result)
    assert (metrics["photos"], metrics["right"]) == (5, 5)
    assert metrics["refusal"]["by_kind"]["orchid"]["photos"] == 1
    assert "those of its own dataset alone are" in result.err
    metrics = metrics_of(run("eval", "flowers5", "--data", root, "--outliers", walls, "--json"))
    assert set(metrics["refusal"]["by_kind"]) == {"orchid", "walls"}
    table = run("eval", "flowers5", "--data", root, "--only", "rose,tulip")
    assert table.code == 0
    assert "orchid (1)" in table.out


def test_in_batches_the_figures_are_the_same_and_a_device_that_is_not_there_is_an_error(run, labelled):
    root, walls = labelled
    same = ("eval", "flowers5", "--data", root, "--outliers", walls, "--json")
    assert metrics_of(run(*same, "--batch-size", 4)) == metrics_of(run(*same))
    if next(cuda_obstacles(), None) is not None:
        refused = run(*same, "--device", "cuda")
        assert refused.code == 1
        assert "--device cuda cannot be had" in refused.err
    assert run("eval", "flowers5", "--against", "flowers5", "--batch-size", 4).code == 2
    assert run("eval", "flowers5", "--device", "gpu").code == 2


def test_a_lone_graph_is_asked_too(run, labelled, tmp_path):
    lone = tmp_path / "lone.onnx"
    shutil.copy(FOLDER / "flowers5" / "model.int8.onnx", lone)
    assert metrics_of(run("eval", lone, "--data", labelled[0], "--json"))["photos"] == 5


def test_a_class_without_photographs_has_no_row(run, labelled):
    root, _ = labelled
    shutil.rmtree(root / "tulip")
    lines = run("eval", "flowers5", "--data", root).out.splitlines()
    assert sum(line.strip().startswith("roses") or line.strip().startswith("rose ") for line in lines) == 2
    assert sum(line.strip().startswith("tulip ") for line in lines) == 1  # Of the confusion matrix.


def test_a_folder_of_other_things_is_told(run, labelled, tmp_path):
    root, _ = labelled
    for name in ("roses", *FLOWERS):
        shutil.rmtree(root / name, ignore_errors=True)
    result = run("eval", "flowers5", "--data", root)
    assert result.code == 1
    assert "no subfolder of it is called as one of its flowers" in result.err
    assert "flowers models" in result.err
    assert run("eval", "flowers5", "--data", tmp_path / "nowhere").code == 1


def test_it_has_no_splits(run, labelled):
    result = run("eval", "flowers5", "--data", labelled[0], "--split", "val")
    assert result.code == 2
    assert "--split test" in result.err


def test_what_a_model_was_trained_on_is_not_asked_about_as_new(run, trained, dataset, tmp_path):
    """Names say nothing: copies by other names are left out, and others by the same names are others."""
    bundle = Bundle.load(trained)
    manifest = Manifest.read(bundle.file("split.json"))
    renamed, others = tmp_path / "renamed", tmp_path / "others"
    for number, photo in enumerate(manifest.photos):
        target = renamed / photo.class_name / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dataset / photo.path, target)
        target = others / photo.path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 30 + number), 60).convert("RGB").save(target)
    tests = sum(photo.split == "test" for photo in manifest.photos)
    result = run("eval", trained, "--data", renamed, "--json")
    assert {variant["photos"] for variant in json.loads(result.out)["variants"].values()} == {tests}
    assert "the model was trained on them" in result.err
    result = run("eval", trained, "--data", others, "--json")
    assert {variant["photos"] for variant in json.loads(result.out)["variants"].values()} == {len(manifest.photos)}


def test_pictures_that_cannot_be_read_are_left_out_and_told(run, labelled):
    root, walls = labelled
    (root / "tulip" / "bad.jpg").write_bytes(b"no picture")
    (walls / "bad.jpg").write_bytes(b"")
    result = run("eval", "flowers5", "--data", root, "--outliers", walls, "--json")
    assert metrics_of(result)["photos"] == 5
    assert "tulip/bad.jpg: It is not a picture" in result.err
    assert "bad.jpg: The file is empty: 0 bytes" in result.err
