"""Pictures of no class: in the manifest, in training, in the graph, and in what `flowers eval` says of them."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

import numpy as np
import pytest
from conftest import write_dataset, write_picture

from flowercli.bundle import Bundle
from flowercli.cli.main import main
from flowercli.data.class_names import class_name, scientific_name
from flowercli.data.manifest import Manifest
from flowercli.data.places import manifest_path

GREYS, PURPLES = (120, 120, 120), (140, 30, 160)


def write_outliers(folder, photos=25):
    """Write two kinds of pictures of other colours, one of them in a subfolder of its kind."""
    for number in range(photos):
        write_picture(folder / "grey" / f"{number:03}.jpg", GREYS, 50_000 + number)
        write_picture(folder / "purple" / "deep" / f"{number:03}.jpg", PURPLES, 60_000 + number)
    return folder


@pytest.fixture(scope="session")
def two_folders(made_once):
    def make(folder):
        write_dataset(folder / "colours")
        write_outliers(folder / "others")
        return folder

    folder = made_once("with-outliers", make)
    return folder / "colours", folder / "others"


@pytest.fixture(scope="session")
def refusing(two_folders, made_once):
    """The bundle of a model that has learnt what grey is, and was never shown purple."""
    pytest.importorskip("torch", reason="needs the extra 'train'")
    return made_once("refusing", partial(train_to_refuse, *two_folders))


def train_to_refuse(dataset, outliers, output):
    assert main(["split", str(dataset), "--outliers", str(outliers), "--hold-out", "purple", "--stratify"]) == 0
    options = ["model=tiny", "loss=ce", "--epochs=10", "--batch-size=16", "--lr=3e-3", "num_workers=0", "augment=none"]
    quiet = ["tracking=none", "plots=false", f"--output={output}", "name=bundle", "augment.disguise=0.2"]
    assert main(["train", f"--data={dataset}", f"--outliers={outliers}", *options, *quiet]) == 0
    assert main(["export", str(output / "bundle"), "--onnx", "--int8", "--max-drop=30"]) == 0
    return output / "bundle"


def test_manifest_lists_outliers_by_kind(two_folders, tmp_path, run):
    dataset, outliers = two_folders
    target = tmp_path / "split.json"
    done = run("split", dataset, "--outliers", outliers, "--hold-out", "purple", "--output", target, "--json")
    assert done.code == 0, done.err
    manifest = Manifest.read(target)
    found = Counter((outlier.class_name, outlier.split) for outlier in manifest.outliers)
    assert found == {("grey", "train"): 21, ("grey", "val"): 2, ("grey", "test"): 2, ("purple", "test"): 25}
    assert {outlier.path for outlier in manifest.outliers} >= {"grey/000.jpg", "purple/deep/024.jpg"}
    told = json.loads(done.out)["outliers"]
    assert told == {"train": {"grey": 21}, "val": {"grey": 2}, "test": {"grey": 2, "purple": 25}}
    # The classes are split as without outliers.
    plain = tmp_path / "plain.json"
    assert run("split", dataset, "--output", plain).code == 0
    assert Manifest.read(plain).photos == manifest.photos
    assert "outliers" not in json.loads(plain.read_text())
    assert Manifest.from_json(manifest.to_json(), target) == manifest


def test_a_copy_of_a_photograph_among_the_outliers_is_told(tmp_path, run):
    dataset, outliers = write_dataset(tmp_path / "colours", photos=6), tmp_path / "others"
    outliers.mkdir()
    (outliers / "copy.jpg").write_bytes((dataset / "blue" / "001.jpg").read_bytes())
    done = run("split", dataset, "--outliers", outliers, "--json")
    assert json.loads(done.out)["conflicting_labels"] == [["blue/001.jpg", "copy.jpg"]]
    (outlier,) = Manifest.read(manifest_path(dataset)).outliers
    (photo,) = (photo for photo in Manifest.read(manifest_path(dataset)).photos if photo.path == "blue/001.jpg")
    assert (outlier.class_name, outlier.split) == ("others", photo.split)


def test_copies_among_outliers_stay_together_where_the_photographs_do_not_move(tmp_path, run):
    dataset, others = tmp_path / "data", tmp_path / "others" / "grey"
    for part in ("train", "val", "test"):
        write_dataset(dataset / part, photos=2)
    for number in range(20):
        write_picture(others / f"{number}.jpg", GREYS, 50_000 + number)
        (others / f"copy{number}.jpg").write_bytes((others / f"{number}.jpg").read_bytes())
    (others / "flower.jpg").write_bytes((dataset / "val" / "blue" / "001.jpg").read_bytes())
    done = run("split", dataset, "--by-folder", "--outliers", others.parent, "--json")
    assert done.code == 0, done.err
    manifest = Manifest.read(manifest_path(dataset))
    sides = {outlier.path.removeprefix("grey/"): outlier.split for outlier in manifest.outliers}
    assert all(sides[f"{number}.jpg"] == sides[f"copy{number}.jpg"] for number in range(20))
    assert sides["flower.jpg"] == "test"  # All three folders have that photograph: the first by name decides.
    assert all(photo.path.startswith(f"{photo.split}/") for photo in manifest.photos)


def test_mistakes_about_outliers(two_folders, tmp_path, run):
    dataset, outliers = two_folders
    done = run("split", dataset, "--outliers", outliers, "--hold-out", "green", "--output", tmp_path / "split.json")
    assert done.code == 2
    assert "grey, purple" in done.err
    assert run("split", dataset, "--hold-out", "grey").code == 2
    (tmp_path / "empty").mkdir()
    done = run("split", dataset, "--outliers", tmp_path / "empty", "--output", tmp_path / "split.json")
    assert done.code == 1
    assert "no pictures" in done.err


def test_merging_remembers_sources_and_lists_outliers(two_folders, tmp_path, run):
    dataset, outliers = two_folders
    other = write_dataset(tmp_path / "more", photos=12)
    for picture in other.rglob("*.jpg"):  # Not the same pictures a second time.
        picture.write_bytes(picture.read_bytes() + b"\0")
    done = run("merge", dataset, other, "--outliers", outliers, "-o", tmp_path / "both")
    assert done.code == 0, done.err
    merged = Manifest.read(manifest_path(tmp_path / "both"))
    assert Counter(photo.source for photo in merged.photos) == {"colours": 120, "more": 36}
    assert len(merged.outliers) == 50


def test_training_with_a_split_that_lacks_the_outliers_says_what_to_type(two_folders, tmp_path, run):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    _, outliers = two_folders
    dataset = write_dataset(tmp_path / "colours")
    assert run("split", dataset).code == 0
    done = run("train", "--data", dataset, "--outliers", outliers, "model=tiny", "--output", tmp_path)
    assert done.code == 1
    assert f"flowers split {dataset} --outliers {outliers}" in done.err
    assert run("split", dataset, "--outliers", outliers).code == 0
    done = run("train", "--data", dataset, "model=tiny", "--output", tmp_path)
    assert done.code == 1
    assert f"flowers train --data {dataset} --outliers DIR" in done.err


@pytest.mark.slow
def test_refusal_is_measured_by_kind(refusing, run):
    done = run("eval", refusing, "--split", "test", "--json")
    assert done.code == 0, done.err
    for metrics in json.loads(done.out)["variants"].values():
        found = metrics["refusal"]
        assert found["pictures"] == 27
        assert {kind: row["photos"] for kind, row in found["by_kind"].items()} == {"grey": 2, "purple": 25}
        assert found["auroc"] > 0.9
        assert found["kept"]["value"] >= 0.5
    card = (refusing / "README.md").read_text()
    assert "| purple | 25 |" in card
    assert "Pictures that show none of the classes: 21 for training" in card
    shown = run("eval", refusing, "--split", "test")
    assert "Refusal of 27 pictures" in shown.out


@pytest.mark.slow
def test_what_lies_outside_only_is_to_be_refused(refusing, run):
    done = run("eval", refusing, "--split", "test", "--only", "blue,reds", "--json")
    assert done.code == 0, done.err
    metrics = json.loads(done.out)["variants"]["int8"]
    assert metrics["per_class"]["green"]["support"] == 0
    assert set(metrics["refusal"]["by_kind"]) == {"green", "grey", "purple"}
    assert run("eval", refusing, "--only", "yellow").code == 2


@pytest.mark.slow
def test_graph_gives_the_number_that_torch_gives(refusing):
    from flowercli.evaluation.answers import ask
    from flowercli.evaluation.bundle_data import bundle_data

    bundle = Bundle.load(refusing)
    data = bundle_data(bundle, None)
    torch, onnx = (ask(bundle, variant, data.root, data.photos("val")) for variant in ("torch", "onnx"))
    assert np.abs(torch.known - onnx.known).max() < 1e-4
    outside = ask(bundle, "onnx", data.outliers_root, data.outliers("test"))
    assert np.median(outside.known) < np.median(onnx.known)


@pytest.mark.slow
def test_average_refuses_as_its_parts_do(refusing, tmp_path, run):
    assert run("average", refusing, refusing, "--output", tmp_path / "mean").code == 0
    one, mean = Bundle.load(refusing).section, Bundle.load(tmp_path / "mean").section
    assert mean["rejection_threshold"] == pytest.approx(one["rejection_threshold"], abs=1e-6)
    assert mean["known"]["none"] == one["known"]["none"]


def test_folder_names_of_datasets_become_names_of_flowers():
    assert class_name("roses") == "rose"
    assert class_name("hard-leaved_pocket_orchid") == "hard_leaved_pocket_orchid"
    assert {class_name(folder) for folder in ("bearded_iris", "yellow_iris", "iris")} == {"iris"}
    assert class_name("My-own_flower") == "My-own_flower"
    assert scientific_name("rose") == "Rosa"
    assert scientific_name("My-own_flower") is None
