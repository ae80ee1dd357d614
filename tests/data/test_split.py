"""The split: torch's own order, duplicates on one side, oddities reported, the manifest."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from conftest import COLOURS, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flowercli.data.duplicates import connected
from flowercli.data.manifest import Manifest
from flowercli.data.places import manifest_path
from flowercli.data.scan import MANIFEST_FILE
from flowercli.data.split import keep_groups_together, random_permutation, random_split, stratified_split
from flowercli.errors import DataError


@given(count=st.integers(0, 3000), seed=st.integers(0, 2**63 - 1))
@settings(max_examples=60, deadline=None)
def test_permutation_is_torchs(count, seed):
    torch = pytest.importorskip("torch")
    expected = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    assert random_permutation(count, seed).tolist() == expected


@pytest.mark.filterwarnings("ignore:Length of split:UserWarning")  # torch's, of empty splits
@pytest.mark.parametrize("ratios", [(0.9, 0.05, 0.05), (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (1, 0, 0)])
@pytest.mark.parametrize("count", [1, 7, 100, 2389, 3670])
def test_split_is_torchs(count, ratios):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(2024)
    parts = torch.utils.data.random_split(range(count), ratios, generator)
    expected = {index: name for name, part in zip(("train", "val", "test"), parts, strict=True) for index in part}
    assert dict(enumerate(random_split(count, ratios, 2024))) == expected


def test_known_order_without_torch():
    # What torch.randperm gives for 8 with a generator of this seed.
    assert random_permutation(8, 2024).tolist() == [0, 1, 6, 3, 7, 4, 2, 5]


def test_stratified_split_keeps_proportions():
    labels = ["a"] * 100 + ["b"] * 20
    assigned = stratified_split(labels, (0.8, 0.1, 0.1), 0)
    assert [assigned[:100].count(name) for name in ("train", "val", "test")] == [80, 10, 10]
    assert [assigned[100:].count(name) for name in ("train", "val", "test")] == [16, 2, 2]


def test_groups_follow_their_first_member():
    assert keep_groups_together(["train", "val", "test", "val"], [[0, 2], [1, 3]]) == ["train", "val", "train", "val"]


def test_connected_components():
    assert connected(6, [(4, 2), (2, 1), (5, 5)]) == [[1, 2, 4]]


def test_manifest_lists_every_photograph_in_sorted_order(dataset, run):
    result = run("split", dataset, "--json")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    manifest = Manifest.read(dataset / MANIFEST_FILE)
    assert [photo.path for photo in manifest.photos] == sorted(
        path.relative_to(dataset).as_posix() for path in dataset.glob("*/*.jpg")
    )
    assert manifest.class_names == tuple(sorted(COLOURS))
    assert [photo.split for photo in manifest.photos] == random_split(len(manifest.photos), (0.9, 0.05, 0.05), 2024)
    assert summary["dataset_sha256"] == manifest.dataset_sha256
    assert sum(sum(counts.values()) for counts in summary["counts"].values()) == len(manifest.photos)


def test_same_split_twice_is_the_same_file(own_dataset, run):
    run("split", own_dataset)
    first = (own_dataset / MANIFEST_FILE).read_bytes()
    run("split", own_dataset)
    assert (own_dataset / MANIFEST_FILE).read_bytes() == first


def test_table_names_classes_and_splits(dataset, run):
    result = run("split", dataset)
    assert result.code == 0
    for word in (*COLOURS, "train", "val", "test", "imbalance 1.00"):
        assert word in result.out
    assert MANIFEST_FILE in result.err


def test_copies_stay_on_one_side_and_are_reported(own_dataset, run):
    original = own_dataset / "blue" / "000.jpg"
    for number in range(30):
        shutil.copy(original, own_dataset / "blue" / f"copy{number:02}.jpg")
    with Image.open(own_dataset / "green" / "000.jpg") as image:
        image.resize((120, 90)).save(own_dataset / "green" / "zz_rescaled.jpg", quality=70)
    summary = json.loads(run("split", own_dataset, "--json").out)
    manifest = Manifest.read(own_dataset / MANIFEST_FILE)
    split_of = {photo.path: photo.split for photo in manifest.photos}
    assert len(summary["exact_duplicates"]) == 1
    assert len(summary["exact_duplicates"][0]) == 31
    assert {split_of[path] for path in summary["exact_duplicates"][0]} == {split_of["blue/000.jpg"]}
    assert ["green/000.jpg", "green/zz_rescaled.jpg"] in summary["near_duplicates"]
    assert split_of["green/zz_rescaled.jpg"] == split_of["green/000.jpg"]


def test_copy_in_another_class_is_a_wrong_label(own_dataset, run):
    shutil.copy(own_dataset / "blue" / "000.jpg", own_dataset / "green" / "same.jpg")
    summary = json.loads(run("split", own_dataset, "--json").out)
    assert summary["conflicting_labels"] == [["blue/000.jpg", "green/same.jpg"]]
    assert "a label is wrong" in run("split", own_dataset).err


def test_oddities_are_left_out_and_reported(own_dataset, tmp_path, run):
    outside = tmp_path / "outside.jpg"
    shutil.copy(own_dataset / "blue" / "001.jpg", outside)
    (own_dataset / "blue" / "link.jpg").symlink_to(outside)
    (own_dataset / "blue" / "within.jpg").symlink_to(own_dataset / "blue" / "001.jpg")
    (own_dataset / ".cache").mkdir()
    (own_dataset / "blue" / ".hidden.jpg").write_bytes(b"x")
    (own_dataset / "empty").mkdir()
    (own_dataset / "blue" / "notes.txt").write_text("x")
    (own_dataset / "green" / "text.jpg").write_text("not a picture")
    whole = (own_dataset / "green" / "001.jpg").read_bytes()
    (own_dataset / "green" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    summary = json.loads(run("split", own_dataset, "--json").out)
    assert summary["links_outside"] == ["blue/link.jpg"]
    assert summary["hidden"] == [".cache", "blue/.hidden.jpg"]
    assert summary["empty_classes"] == ["empty"]
    assert summary["other_files"] == ["blue/notes.txt"]
    assert [entry["path"] for entry in summary["unreadable"]] == ["green/cut.jpg", "green/text.jpg"]
    assert ["blue/001.jpg", "blue/within.jpg"] in summary["exact_duplicates"]


def test_read_only_dataset_keeps_its_manifest_elsewhere(own_dataset, home, run):
    own_dataset.chmod(0o555)
    try:
        assert run("split", own_dataset).code == 0
    finally:
        path = manifest_path(own_dataset)
        own_dataset.chmod(0o755)
    assert not (own_dataset / MANIFEST_FILE).exists()
    assert path.is_file()
    assert home in path.parents


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--ratios", "0.9,0.2,0.1"), 2, "add up to 1.2"),
        (("--ratios", "a,b,c"), 2, "not three numbers"),
        (("--ratios", "0.5,0.5"), 2, "three numbers"),
    ],
)
def test_wrong_ratios(dataset, run, arguments, code, words):
    result = run("split", dataset, *arguments)
    assert (result.code, result.out) == (code, "")
    assert words in result.err


def test_folder_that_is_no_dataset(tmp_path, run):
    result = run("split", tmp_path / "nowhere")
    assert (result.code, "is not a folder" in result.err) == (1, True)
    assert "No class folders" in run("split", tmp_path).err


def test_one_class_is_refused_with_the_next_command(tmp_path, run):
    write_dataset(tmp_path / "up" / "colours", photos=2)
    result = run("split", tmp_path / "up")
    assert result.code == 1
    assert "one class only" in result.err
    assert f"flowers split {tmp_path / 'up' / 'colours'}" in result.err
    assert os.listdir(tmp_path / "up") == ["colours"]


def test_damaged_manifest_is_told(own_dataset):
    (own_dataset / MANIFEST_FILE).write_text('{"format_version": 1, "seed": 3}')
    with pytest.raises(DataError, match="damaged"):
        Manifest.read(own_dataset / MANIFEST_FILE)
    (own_dataset / MANIFEST_FILE).write_text('{"format_version": 9}')
    with pytest.raises(DataError, match="format 9"):
        Manifest.read(own_dataset / MANIFEST_FILE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fields: fields["photos"][3].update(path="../../etc/passwd"), r"photos\[3\].path leads out"),
        (lambda fields: fields["photos"][0].update(path="/etc/passwd"), r"photos\[0\].path has an absolute path"),
        (lambda fields: fields["photos"][1].update(split="valid"), r"photos\[1\].split is \"valid\"; it must be"),
        (lambda fields: fields["photos"][1].pop("sha256"), r"photos\[1\].sha256 is missing"),
        (lambda fields: fields["photos"][1].update(path=["a"]), r"photos\[1\].path is \[\"a\"\]"),
        (lambda fields: fields["photos"][1].update(class_name="oak"), "which class_names does not list"),
        (
            lambda fields: fields.update(outliers=[{**fields["photos"][0], "class_name": "../x"}]),
            r"outliers\[0\].class",
        ),
        (lambda fields: fields.update(class_names=[*fields["class_names"], "../up"]), "is no name of a folder"),
        (lambda fields: fields.update(ratios=[float("nan"), 1]), "NaN is no JSON"),
        (lambda fields: fields.update(ratios=["much", 1]), "ratios is"),
        (lambda fields: fields["photos"][1].update(source="\ud800"), "is damaged"),
        (lambda fields: fields.update(photos={}), "photos is no list"),
        (lambda fields: fields.pop("ratios"), "line 1: ratios is missing"),
        (lambda fields: fields.pop("format_version"), "format_version is missing"),
        (lambda fields: fields.update(format_version="1"), r"format_version is \"1\""),
        (lambda fields: fields.update(seed=True), "seed is true"),
        (lambda fields: fields.update(ratios=[0.9, 0.1]), r"ratios is \[0.9, 0.1\]"),
        (lambda fields: fields.update(unreadable=[1]), "unreadable is no list of paths"),
        (
            lambda fields: fields["photos"].append({**fields["photos"][2], "split": "test"}),
            r"photos\[120\].path is that of photos\[2\] too",
        ),
    ],
)
def test_a_manifest_from_elsewhere_is_checked_field_by_field(own_dataset, run, tmp_path, change, said):
    run("split", own_dataset)
    path = own_dataset / MANIFEST_FILE
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(DataError, match=said):
        Manifest.read(path)
    result = run("merge", own_dataset, own_dataset, "--output", tmp_path / "merged")
    assert result.code in {1, 2}
    assert not (tmp_path / "merged").exists()


def test_a_mistake_in_a_manifest_is_told_with_its_line_and_field(own_dataset, run):
    run("split", own_dataset)
    path = own_dataset / MANIFEST_FILE
    lines = path.read_text().splitlines()
    place = next(place for place, line in enumerate(lines) if '"split": "val"' in line)
    lines[place] = lines[place].replace('"split": "val"', '"split": "valid"')
    first = lines.index('  "photos": [') + 1
    path.write_text("\n".join(lines))
    done = run("merge", own_dataset, "--output", own_dataset / "new")
    assert done.code == 1
    assert f'line {place + 1}: photos[{place - first}].split is "valid"; it must be train, val or test' in done.err
    assert "Mend it there, or split anew" in done.err
    path.write_text("\n".join(lines).replace('"stratified": false', '"stratified": 0'))
    where = next(number for number, line in enumerate(lines, 1) if '"stratified"' in line)
    assert f"line {where}: stratified is 0" in run("merge", own_dataset, "--output", own_dataset / "new").err


@pytest.mark.photos
def test_real_photographs_give_torchs_split(photos, tmp_path, run):
    torch = pytest.importorskip("torch")
    copy = tmp_path / "photos"
    copy.mkdir()
    for folder in photos.iterdir():
        (copy / folder.name).mkdir()
        for path in sorted(folder.iterdir())[:60]:
            (copy / folder.name / path.name).write_bytes(path.read_bytes())
    summary = json.loads(run("split", copy, "--json").out)
    manifest = Manifest.read(copy / MANIFEST_FILE)
    count = len(manifest.photos)
    parts = torch.utils.data.random_split(range(count), (0.9, 0.05, 0.05), torch.Generator().manual_seed(2024))
    followers = {path for group in summary["exact_duplicates"] + summary["near_duplicates"] for path in group[1:]}
    for name, part in zip(("train", "val", "test"), parts, strict=True):
        for index in part:
            assert manifest.photos[index].split == name or manifest.photos[index].path in followers
    assert manifest.class_names == ("daisy", "dandelion", "rose", "sunflower", "tulip")


@pytest.mark.parametrize(
    ("photos", "stratify"), [((3, 3), True), ((3, 4), False), ((1, 5), True), ((9, 30), True), ((1, 1), False)]
)
def test_where_a_split_is_empty_the_ratios_that_are_advised_fill_it(run, tmp_path, photos, stratify):
    generator = np.random.default_rng(0)
    for name, count in zip(("daisy", "rose"), photos, strict=True):
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(tmp_path / name / f"{number}.png")
    assert run("split", tmp_path, "--ratios", "1,0,0", *["--stratify"] * stratify).code == 0
    manifest = Manifest.read(tmp_path / MANIFEST_FILE)
    with pytest.raises(DataError, match="The split 'val' has no photographs") as caught:
        manifest.of_split("val")
    if sum(photos) < 3:
        assert "three photographs at least" in caught.value.hint
        return
    assert ("--stratify" in caught.value.hint) == (stratify and min(photos) >= 3)
    assert run(*caught.value.hint.replace("DIR", str(tmp_path)).split()[1:]).code == 0
    manifest = Manifest.read(tmp_path / MANIFEST_FILE)
    for split in ("train", "val", "test"):
        assert manifest.of_split(split)
        assert not stratify or min(photos) < 3 or min(manifest.counts(split).values()) > 0
