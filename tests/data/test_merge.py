"""Merging datasets: classes by name, every photograph on its side of the split, nothing half-made."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from conftest import COLOURS, write_dataset, write_picture

from flowercli.data.manifest import Manifest
from flowercli.data.places import manifest_path


@pytest.fixture
def two(tmp_path):
    """Two datasets: the second has two classes of the first, one of them under the plural name, and one of its own."""
    first = write_dataset(tmp_path / "first", photos=20)
    (first / "reds").rename(first / "rose")
    second = tmp_path / "second"
    for name, colour, seed in (
        ("blue", COLOURS["blue"], 7),
        ("roses", COLOURS["reds"], 8),
        ("yellow", (220, 220, 40), 9),
    ):
        for number in range(10):
            write_picture(second / name / "deep" / f"{number:03}.jpg", colour, 10_000 * seed + number)
    return first, second


def read(root):
    return Manifest.read(manifest_path(root))


def test_every_photograph_keeps_its_class_and_its_side(two, tmp_path, run):
    first, second = two
    assert run("split", first, "--ratios", "0.5,0.25,0.25").code == 0
    before = {photo.sha256: photo.split for photo in read(first).photos}
    done = run("merge", first, second, "-o", tmp_path / "both", "--json")
    assert done.code == 0, done.err
    before |= {photo.sha256: photo.split for photo in read(second).photos}
    merged = read(tmp_path / "both")
    assert {photo.sha256: photo.split for photo in merged.photos} == before
    assert merged.class_names == ("blue", "green", "rose", "yellow")
    counts = {name: sum(photo.class_name == name for photo in merged.photos) for name in merged.class_names}
    assert counts == {"blue": 30, "green": 20, "rose": 30, "yellow": 10}
    assert json.loads(done.out)["counts"]["test"] == merged.counts("test")
    assert (tmp_path / "both" / "rose" / "second-deep-003.jpg").samefile(second / "roses" / "deep" / "003.jpg")
    # The merged folder is a dataset like any other.
    assert run("split", tmp_path / "both").code == 0


def test_only_the_classes_asked_for(two, tmp_path, run):
    assert run("merge", *two, "-o", tmp_path / "both", "--class", "rose", "--class", "blue").code == 0
    assert read(tmp_path / "both").class_names == ("blue", "rose")
    done = run("merge", *two, "-o", tmp_path / "other", "--class", "violet")
    assert done.code == 2
    assert "blue, green, rose, yellow" in done.err
    assert not (tmp_path / "other").exists()


def test_copies_are_left_out_and_near_ones_follow(two, tmp_path, run):
    first, second = two
    assert run("split", first, "--ratios", "0,0.5,0.5").code == 0
    shutil.copy(first / "blue" / "003.jpg", second / "blue" / "copy.jpg")
    done = run("merge", first, second, "-o", tmp_path / "both")
    assert done.code == 0, done.err
    assert "there already: 1" in done.err
    assert not (tmp_path / "both" / "blue" / "second-copy.jpg").exists()


def test_two_folders_of_one_name(two, tmp_path, run):
    first, _ = two
    twin = tmp_path / "elsewhere" / "first"
    write_picture(twin / "blue" / "000.jpg", COLOURS["blue"], 77)
    write_picture(twin / "rose" / "000.jpg", COLOURS["reds"], 78)
    assert run("merge", first, twin, "-o", tmp_path / "both").code == 0
    assert {"first1-000.jpg", "first2-000.jpg"} <= set(os.listdir(tmp_path / "both" / "blue"))


def test_names_that_meet_are_told_apart(tmp_path, run):
    dataset = tmp_path / "data"
    for number, name in enumerate(("a/b.jpg", "a-b.jpg")):
        write_picture(dataset / "blue" / name, COLOURS["blue"], number)
        write_picture(dataset / "rose" / name, COLOURS["reds"], 10 + number)
    assert run("merge", dataset, "-o", tmp_path / "new").code == 0
    assert sorted(os.listdir(tmp_path / "new" / "blue")) == ["data-a-b-2.jpg", "data-a-b.jpg"]


def test_a_manifest_leads_to_no_other_file(two, tmp_path, run):
    first, _ = two
    assert run("split", first).code == 0
    secret = tmp_path / "secret.jpg"
    write_picture(secret, (1, 2, 3), 5)
    victim = first / read(first).photos[0].path
    victim.unlink()
    for target in (secret, tmp_path / "text"):
        (tmp_path / "text").write_text("secret")
        victim.symlink_to(target)
        done = run("merge", first, "-o", tmp_path / "both")
        assert done.code == 1
        assert "not what the split manifest says" in done.err
        assert not (tmp_path / "both").exists()
        victim.unlink()
    os.mkfifo(victim)
    assert "there is no such file" in run("merge", first, "-o", tmp_path / "both").err


def test_what_cannot_be_merged_leaves_nothing(two, tmp_path, run):
    first, second = two
    assert run("split", first).code == 0
    (first / "blue" / "003.jpg").unlink()
    done = run("merge", first, second, "-o", tmp_path / "both")
    assert done.code == 1
    assert "003.jpg" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    done = run("merge", first, tmp_path / "nowhere", "-o", tmp_path / "both")
    assert done.code == 1
    assert "not a folder" in done.err
    done = run("merge", second, "-o", first)
    assert done.code == 2
    assert "exists already" in done.err
