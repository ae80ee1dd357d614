"""Dataset folders as they are found: somebody else's, with closed folders, circles, split already, of any names."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import COLOURS, write_dataset, write_picture

from flowercli.data.manifest import Manifest
from flowercli.data.places import find_manifest, manifest_path
from flowercli.data.scan import MANIFEST_FILE, scan_dataset
from flowercli.errors import DataError

NOBODY = 65534
ONE, TWO = "ros\u00e9", "rose\u0301"
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="changes the user")


@pytest.fixture
def place(monkeypatch):
    """A folder that other users reach, unlike pytest's, with a data directory in it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "home").mkdir()
        (Path(folder) / "home").chmod(0o777)
        monkeypatch.setenv("FLOWERS_HOME", str(Path(folder) / "home"))
        yield Path(folder)


@contextmanager
def as_nobody():
    """Be a user whom the system stops."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def warm(dataset, run):
    """Load all modules while they can be: nobody need be able to read Python's own."""
    run("split", dataset)
    (dataset / MANIFEST_FILE).unlink()
    return dataset


def read(root):
    return Manifest.read(find_manifest(root))


@as_root
def test_folders_that_cannot_be_listed_are_left_out_and_told(place, run):
    dataset = warm(write_dataset(place / "data", photos=3), run)
    for closed in (dataset / "lost+found", dataset / "blue" / "mine"):
        closed.mkdir(mode=0o700)
    shutil.copy(dataset / "blue" / "001.jpg", dataset / "blue" / "mine")
    (dataset / "blue" / "away.jpg").symlink_to("mine/001.jpg")
    with as_nobody():
        done = run("split", dataset, "--json")
        told = run("split", dataset).err
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["closed_folders"] == ["blue/mine", "lost+found"]
    assert found["dead_links"] == ["blue/away.jpg"]
    assert found["empty_classes"] == []
    assert "2 folders that cannot be listed, left out" in told
    dataset.chmod(0o700)
    with as_nobody():
        done = run("split", dataset)
        with pytest.raises(DataError, match="cannot be listed"):
            scan_dataset(dataset)
    assert done.code == 2
    assert "is not readable" in done.err


@as_root
def test_a_dataset_of_somebody_elses_is_split_in_the_data_directory(place, run):
    dataset = warm(write_dataset(place / "data", photos=3), run)
    assert dataset.stat().st_mode & 0o777 == 0o755
    with as_nobody():
        done = run("split", dataset, "--seed", 5)
        assert done.code == 0, done.err
        assert find_manifest(dataset) == manifest_path(dataset)
    assert len(list((place / "home" / "splits").glob("data-*.json"))) == 1
    assert not (dataset / MANIFEST_FILE).exists()
    # Whose it is splits it too: the own split goes before that, and of two strangers the other one has none.
    assert run("split", dataset, "--seed", 6).code == 0
    with as_nobody():
        assert read(dataset).seed == 5
        shutil.rmtree(place / "home" / "splits")
        assert read(dataset).seed == 6


@as_root
def test_a_data_directory_of_somebody_elses_stops_no_split(place, run, tmp_path, monkeypatch):
    dataset = warm(write_dataset(place / ("é" * 120), photos=3), run)
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path))
    dataset.chmod(0o777)
    with as_nobody():
        done = run("split", dataset)
    assert done.code == 0, done.err
    dataset.chmod(0o555)
    assert run("split", dataset).code == 0
    assert find_manifest(dataset).parent == tmp_path / "splits"


def test_links_in_a_circle_are_told(own_dataset, run):
    (own_dataset / "blue" / "a.jpg").symlink_to("b.jpg")
    (own_dataset / "blue" / "b.jpg").symlink_to("a.jpg")
    (own_dataset / "round").symlink_to("round")
    (own_dataset / "green" / "up").symlink_to("..")
    done = run("split", own_dataset, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["dead_links"] == ["blue/a.jpg", "blue/b.jpg", "round"]
    assert found["links_outside"] == ["green/up"]
    assert run("split", own_dataset, "--outliers", own_dataset / "blue", "--output", own_dataset / "new").code == 0


def write_parts(folder, names, photos=6):
    for place, name in enumerate(names):
        for number, (colour, value) in enumerate(COLOURS.items()):
            for photo in range(photos):
                write_picture(folder / name / colour / f"{photo}.jpg", value, 1000 * place + 100 * number + photo)
    return folder


def test_a_dataset_that_is_split_already_keeps_its_split(tmp_path, run):
    dataset = write_parts(tmp_path / "data set", ("train", "Valid", "test"))
    shutil.copy(dataset / "train" / "blue" / "0.jpg", dataset / "test" / "blue" / "copy.jpg")
    (dataset / "predict").mkdir()
    done = run("split", dataset)
    assert done.code == 1
    assert "is split already: Valid, test, train are no classes" in done.err
    assert f"flowers split '{dataset}' --by-folder" in done.err
    assert "--by-folder" in run("merge", dataset, "--output", tmp_path / "merged").err
    done = run("split", dataset, "--by-folder", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["counts"]["val"] == dict.fromkeys(COLOURS, 6)
    assert found["counts"]["test"] == {"blue": 7, "green": 6, "reds": 6}
    assert found["copies_across_splits"] == [["test/blue/copy.jpg", "train/blue/0.jpg"]]
    assert found["other_files"] == ["predict"]
    for photo in read(dataset).photos:
        part, colour, _ = photo.path.split("/")
        assert (photo.split, photo.class_name) == ({"Valid": "val"}.get(part, part), colour)
    done = run("merge", dataset, "--output", tmp_path / "merged", "--json")
    assert done.code == 0, done.err
    assert len(os.listdir(tmp_path / "merged" / "green")) == 18


def test_validation_that_is_missing_is_drawn_from_training(tmp_path, run):
    dataset = write_parts(tmp_path / "data", ("train", "test"), photos=20)
    shutil.copy(dataset / "train" / "blue" / "0.jpg", dataset / "train" / "blue" / "copy.jpg")
    done = run("split", dataset, "--by-folder", "--ratios", "0.6,0.2,0.2", "--stratify", "--json")
    assert done.code == 0, done.err
    counts = json.loads(done.out)["counts"]
    assert counts["test"] == dict.fromkeys(COLOURS, 20)
    assert counts["val"]["green"] == counts["val"]["reds"] == 5
    sides = {photo.path: photo.split for photo in read(dataset).photos}
    assert sides["train/blue/0.jpg"] == sides["train/blue/copy.jpg"]
    done = run("split", dataset / "train", "--by-folder")
    assert done.code == 2
    assert "is not split already" in done.err


def test_one_name_in_two_ways_is_one_class(tmp_path, run):
    for number, name in enumerate((ONE, TWO, "blue")):
        write_picture(tmp_path / "data" / name / f"{number}.jpg", COLOURS["blue"], number)
    assert scan_dataset(tmp_path / "data").class_names == ["blue", ONE]
    done = run("merge", tmp_path / "data", "--class", TWO, "--class", "blue", "--output", tmp_path / "new")
    assert done.code == 0, done.err
    assert sorted(os.listdir(tmp_path / "new")) == ["blue", MANIFEST_FILE, ONE]


def test_files_that_are_one_on_some_systems_get_names_of_their_own(tmp_path, run):
    for number, name in enumerate((f"{ONE}.jpg", f"{TWO}.jpg", "A.jpg", "a.jpg")):
        write_picture(tmp_path / "data" / "blue" / name, COLOURS["blue"], number)
        write_picture(tmp_path / "data" / "rose" / name, COLOURS["reds"], 10 + number)
    assert run("merge", tmp_path / "data", "--output", tmp_path / "new").code == 0
    assert sorted(os.listdir(tmp_path / "new" / "blue")) == sorted(
        ["data-A.jpg", "data-a-2.jpg", f"data-{TWO}.jpg", f"data-{ONE}-2.jpg"]
    )


def test_hidden_datasets_and_long_names_are_merged(tmp_path, run):
    long = "é" * 120
    for number in range(3):
        write_picture(tmp_path / ".hidden" / "blue" / long / f"{long}{number}.jpg", COLOURS["blue"], number)
        write_picture(tmp_path / ".hidden" / "rose" / f"{number}.jpg", COLOURS["reds"], 10 + number)
    done = run("merge", tmp_path / ".hidden", "--output", tmp_path / "new")
    assert done.code == 0, done.err
    names = os.listdir(tmp_path / "new" / "blue")
    assert len(names) == 3
    assert all(name.startswith(f"hidden-{long[:80]}") and name.endswith(".jpg") for name in names)


def test_one_class_is_told_before_anything_is_merged(own_dataset, tmp_path, run):
    done = run("merge", own_dataset, "--class", "blue", "--output", tmp_path / "new")
    assert done.code == 2
    assert "one class only, 'blue'" in done.err
    assert "blue, green, reds" in done.err
    assert not (tmp_path / "new").exists()


def test_a_class_that_nothing_could_be_learnt_about_is_told(own_dataset, tmp_path, run):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    write_picture(own_dataset / "rare" / "1.jpg", (200, 200, 30), 1)
    seed = next(seed for seed in range(100) if _lonely(own_dataset, seed, run))
    done = run("split", own_dataset, "--seed", seed)
    assert "1 classes without a photograph in train (--stratify gives each its share):\n  rare" in done.err
    done = run("train", "--data", own_dataset, "model=tiny", "--output", tmp_path)
    assert done.code == 1
    assert "no photograph of rare" in done.err
    assert f"flowers split {own_dataset} --seed {seed} --stratify" in done.err


def _lonely(dataset, seed, run):
    return json.loads(run("split", dataset, "--seed", seed, "--json").out)["classes_not_in_train"] == ["rare"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a name is always text")
def test_names_that_are_no_text_are_left_out_and_told(own_dataset, tmp_path, run):
    root = tmp_path / "odd"
    shutil.copytree(own_dataset, root)
    picture = next((root / "blue").iterdir())
    shutil.copy(picture, os.fsencode(root / "blue") + b"/\xff.jpg")
    Path(os.fsdecode(os.fsencode(root) + b"/\xfe")).mkdir()
    found = json.loads(run("split", root, "--json").out)
    assert sorted(found["odd_names"]) == ["blue/\udcff.jpg", "\udcfe"]
    assert "no UTF-8" in run("split", root).err
    assert run("merge", root, "--output", tmp_path / "merged").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes among files")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_manifest_that_never_ends_is_refused(own_dataset, tmp_path, run, make):
    root = tmp_path / "odd"
    shutil.copytree(own_dataset, root)
    (root / "flowers-split.json").unlink(missing_ok=True)
    make(root / "flowers-split.json")
    result = run("merge", root, "--output", tmp_path / "merged")
    assert result.code == 1
    assert "not a plain file" in result.err
