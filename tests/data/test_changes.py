"""A split, or a model, whose photographs are no longer what they were: what differs is told, and what to type."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
from contextlib import closing

import pytest
from conftest import COLOURS, write_dataset, write_picture

from flowercli.cli.main import main
from flowercli.data import seen
from flowercli.data.changes import split_command
from flowercli.data.manifest import Manifest
from flowercli.data.places import manifest_path
from flowercli.data.seen import seen_file, sha256_of

pytest.importorskip("torch", reason="needs the extra 'train'")
# Enough to get past the check of the photographs, and no further.
STOPPED = ("model=tiny", "model.pretrained=false", "distill.teacher=[nothing]")


def read(root):
    return Manifest.read(manifest_path(root))


def of_split(manifest, split):
    return next(photo for photo in manifest.photos if photo.split == split).path


def edit(path):
    path.write_bytes(path.read_bytes() + b" ")


def test_photographs_that_were_added_are_told_and_left_out(own_dataset, tmp_path, run):
    (own_dataset / "blue" / "broken.jpg").write_text("no picture")
    assert run("split", own_dataset, "--ratios", "0.8,0.1,0.1", "--seed", 7).code == 0
    assert read(own_dataset).unreadable == ("blue/broken.jpg",)
    command = ("train", "--data", own_dataset, "--output", tmp_path / "runs", *STOPPED)
    assert "Since the split" not in run(*command).err
    for number in range(2):
        write_picture(own_dataset / "blue" / f"new{number}.jpg", COLOURS["blue"], 900 + number)
    (own_dataset / of_split(read(own_dataset), "test")).unlink()
    done = run(*command)
    assert "Since the split there were 2 added (blue/new0.jpg, …), 1 removed (" in done.err
    assert f"flowers split {own_dataset} --ratios 0.8,0.1,0.1 --seed 7" in done.err
    assert "nothing" in done.err.splitlines()[-2]  # It went on, to where the test stops it.
    done = run("merge", own_dataset, "--output", tmp_path / "merged")
    assert "2 added (blue/new0.jpg, …)" in done.err


@pytest.mark.parametrize("what", ["removed", "edited"])
def test_what_a_run_would_learn_from_stops_it(own_dataset, tmp_path, run, what):
    assert run("split", own_dataset, "--stratify").code == 0
    path = own_dataset / of_split(read(own_dataset), "val")
    path.unlink() if what == "removed" else edit(path)
    done = run("train", "--data", own_dataset, "--output", tmp_path / "runs", *STOPPED)
    assert done.code == 1
    assert f"no longer those of the split manifest: 1 {what} ({path.relative_to(own_dataset)})" in done.err
    assert f"flowers split {own_dataset} --stratify" in done.err
    assert not (tmp_path / "runs").exists()


def test_names_that_another_system_writes_differently_are_told(own_dataset, tmp_path, run):
    one, two = (own_dataset / "blue" / f"{name}.jpg" for name in ("ros\u00e9", "rose\u0301"))
    write_picture(one, COLOURS["blue"], 900)
    assert run("split", own_dataset, "--ratios", "0.8,0.2,0").code == 0
    one.rename(two)
    done = run("train", "--data", own_dataset, "--output", tmp_path / "runs", *STOPPED)
    assert "1 added (blue/rose\u0301.jpg), 1 removed (blue/ros\u00e9.jpg); 1 of these have their names in" in done.err


def test_outliers_that_changed_are_told_with_their_folder(own_dataset, tmp_path, run):
    others = tmp_path / "others"
    for number in range(6):
        write_picture(others / "grey" / f"{number}.jpg", (90, 90, 90), 5000 + number)
    assert run("split", own_dataset, "--outliers", others).code == 0
    for path in (others / "grey").iterdir():
        edit(path)
    command = ("train", "--data", own_dataset, "--output", tmp_path / "runs", *STOPPED, "--outliers")
    assert f"6 edited ({others}/grey/0.jpg, …)" in run(*command, others).err
    assert "The outliers are not at" in run(*command, tmp_path / "nowhere").err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("data.ratios=[0.9,0.05,0.05]", "flowers split {0} --seed 7"),
        ("data.split_seed=8", "flowers split {0} --ratios"),
        ("data.stratify=true", "--stratify"),
    ],
)
def test_options_that_contradict_the_manifest_are_refused(own_dataset, tmp_path, run, option, said):
    assert run("split", own_dataset, "--ratios", "0.8,0.1,0.1", "--seed", 7).code == 0
    command = ("train", "--data", own_dataset, "--output", tmp_path / "runs", *STOPPED)
    done = run(*command, option)
    assert done.code == 2
    assert f"made with other options than {option}: ratios [0.8,0.1,0.1], seed 7, not stratified" in done.err
    assert f"Leave out {option.partition('=')[0]}." in done.err
    assert said.format(own_dataset) in done.err
    # The same as the manifest's say nothing else, and what nobody typed is none of anybody's business.
    done = run(*command, "data.ratios=[0.8,0.1,0.1]", "data.split_seed=7", "data.stratify=false")
    assert "other options" not in done.err


def test_a_manifest_that_was_named_is_the_one_to_write_again(own_dataset, tmp_path, run):
    named = tmp_path / "my split.json"
    assert run("split", own_dataset, "--seed", 9, "--output", named).code == 0
    edit(own_dataset / of_split(Manifest.read(named), "val"))
    command = ("train", "--data", own_dataset, "--output", tmp_path / "runs", f"data.manifest='{named}'", *STOPPED)
    assert f"split what is there now: flowers split {own_dataset} --seed 9 --output '{named}'" in run(*command).err
    assert f"flowers split {own_dataset} --output '{named}'" in run(*command, "data.split_seed=2024").err
    done = run(*command, "--outliers", own_dataset / "blue")
    assert f"--outliers {own_dataset / 'blue'} --output '{named}'" in done.err


def test_a_run_that_goes_on_keeps_its_split(own_dataset):
    from flowercli.errors import DataError
    from flowercli.training.config import compose_config
    from flowercli.training.run_data import check_photos

    assert main(["split", str(own_dataset)]) == 0
    config, manifest, said = compose_config([f"data.path='{own_dataset}'"]), read(own_dataset), []
    again = f"start a new run: flowers split {own_dataset}, then flowers train …"
    write_picture(own_dataset / "blue" / "new.jpg", COLOURS["blue"], 900)
    check_photos(config, manifest, said.append, resumed=True)
    assert again in said[0]
    edit(own_dataset / of_split(manifest, "val"))
    with pytest.raises(DataError) as caught:
        check_photos(config, manifest, said.append, resumed=True)
    assert caught.value.hint == f"Put them back as they were, or {again}"


def test_edited_photographs_are_told_alike(own_bundle, own_dataset, tmp_path, run):
    edit(own_dataset / of_split(Manifest.read(own_bundle / "split.json"), "val"))
    commands = [
        ("eval", own_bundle, "--split", "val"),
        ("average", own_bundle, own_bundle, "--output", tmp_path / "mean"),
        ("reference", own_bundle),
        ("export", own_bundle, "--onnx"),
    ]
    before = (own_bundle / "config.json").read_bytes()
    for command in commands:
        done = run(*command, "--data", own_dataset)
        assert done.code == 1, command
        assert "1 of the" in done.err, command
        assert f"photographs of 'val' in {own_dataset} were edited since the model was trained" in done.err, command
        assert f"flowers split {own_dataset}, then flowers train --data {own_dataset}" in done.err
    assert (own_bundle / "config.json").read_bytes() == before


def test_untouched_photographs_are_not_read_again(own_dataset, monkeypatch):
    paths = ["blue/000.jpg", "blue/001.jpg", "blue/none.jpg"]
    true = list(sha256_of(own_dataset, paths))
    assert true[2] is None
    place = seen_file(own_dataset)
    assert not place.exists()  # They were written a moment ago.
    monkeypatch.setattr(seen, "SETTLED_NS", -(10**18))
    monkeypatch.setattr(seen, "TOGETHER", 2)
    assert list(sha256_of(own_dataset, paths)) == true
    with closing(sqlite3.connect(place)) as table, table:
        table.execute("UPDATE seen SET sha256 = zeroblob(32)")
    os.utime(own_dataset / "blue" / "001.jpg")
    assert list(sha256_of(own_dataset, paths)) == ["0" * 64, true[1], None]
    whole = place.read_bytes()
    for damaged in (b"[" * 1000, whole[:700], whole[:100] + b"x" * 8000, b""):
        place.write_bytes(damaged)
        assert list(sha256_of(own_dataset, paths)) == true
    assert list(sha256_of(own_dataset, paths)) == true
    assert place.read_bytes().startswith(b"SQLite")
    shutil.rmtree(place.parent)
    place.parent.write_text("a file where the folder should be")
    assert list(sha256_of(own_dataset, paths)) == true
    place.parent.unlink()


@pytest.mark.parametrize("ratios", ["0.3333333,0.3333333,0.3333334", "0.9,0.1,0", "1,0,0"])
def test_ratios_are_repeated_as_they_were_typed(own_dataset, run, ratios):
    assert run("split", own_dataset, "--ratios", ratios).code == 0
    assert split_command(own_dataset, read(own_dataset), None) == f"flowers split {own_dataset} --ratios {ratios}"


def test_the_share_that_was_drawn_from_training_is_drawn_again(tmp_path, run):
    dataset = tmp_path / "data"
    write_dataset(dataset / "train", photos=20)
    (dataset / "test").mkdir()
    for colour in COLOURS:
        shutil.copytree(dataset / "train" / colour, dataset / "test" / colour)
    assert run("split", dataset, "--by-folder", "--ratios", "0.6,0.2,0.2").code == 0
    first = manifest_path(dataset).read_bytes()
    command = split_command(dataset, read(dataset), None)
    assert "--by-folder --ratios 0.375,0.125,0.5" in command
    assert run(*shlex.split(command)[1:]).code == 0
    assert manifest_path(dataset).read_bytes() == first


def test_the_command_that_splits_again_is_that_of_the_first_time(tmp_path, run):
    dataset, others = write_dataset(tmp_path / "my data", photos=8), tmp_path / "others"
    for kind, first in (("grey", 0), ("dark", 20)):
        for number in range(8):
            write_picture(others / kind / f"{number}.jpg", (90, 90, 90), 5000 + first + number)
    options = ("--ratios", "0.5,0.25,0.25", "--stratify", "--outliers", others, "--hold-out", "dark")
    assert run("split", dataset, *options).code == 0
    first = manifest_path(dataset).read_bytes()
    command = split_command(dataset, read(dataset), others)
    assert "--ratios 0.5,0.25,0.25 --stratify" in command
    assert run(*shlex.split(command)[1:]).code == 0
    assert manifest_path(dataset).read_bytes() == first
    assert run("merge", dataset, "--output", tmp_path / "merged").code == 0
    assert "merge its datasets again" in split_command(tmp_path / "merged", read(tmp_path / "merged"), None)
    assert json.loads(manifest_path(tmp_path / "merged").read_text())["photos"][0]["source"] == "my data"
