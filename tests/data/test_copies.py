"""Photographs that a manifest knows, found again by their bytes and by their perceptual hashes."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flowercli.bundle import Bundle, add_files
from flowercli.data.copies import Copies
from flowercli.data.duplicates import fingerprint, perceptual_hash
from flowercli.data.make_split import make_split
from flowercli.data.manifest import Manifest, entry_table
from flowercli.errors import DataError
from flowercli.models import FOLDER


def blotches(seed):
    small = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((240, 160), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("seed", "by_imagehash"), [(1, 0xF9D1B4AE9D7C0083), (2, 0xA19ECF4A5C882377), (3, 0xF6759CCE695800A7)]
)
def test_perceptual_hash_is_that_of_imagehash(seed, by_imagehash):
    assert perceptual_hash(blotches(seed)) == by_imagehash


def test_hash_of_one_colour_is_no_rounding():
    assert perceptual_hash(Image.new("RGB", (50, 50), (9, 9, 9))) == 1 << 63


@pytest.fixture(scope="module")
def manifest(dataset):
    return make_split(dataset, (0.8, 0.1, 0.1), 1).manifest


def test_found_by_bytes_then_by_hash_then_not(manifest, dataset, tmp_path):
    copies = Copies(manifest)
    photo = manifest.photos[7]
    same = copies.find(fingerprint(str(dataset / photo.path)))
    assert (same.photo, same.is_outlier, same.bits) == (photo, False, None)
    with Image.open(dataset / photo.path) as image:
        image.resize((100, 75)).save(tmp_path / "small.webp", quality=60)
    alike = copies.find(fingerprint(str(tmp_path / "small.webp")))
    assert (alike.photo, alike.bits) == (photo, min(alike.bits, 4))
    blotches(5).save(tmp_path / "new.png")
    assert copies.find(fingerprint(str(tmp_path / "new.png"))) is None


def test_one_of_training_counts_before_the_same_file_in_the_test(manifest):
    trained, tested = manifest.of_split("train")[0], manifest.of_split("test")[0]
    leak = replace(tested, path="leak.jpg", sha256=trained.sha256, perceptual_hash=trained.perceptual_hash)
    near = replace(tested, path="near.jpg", perceptual_hash=trained.perceptual_hash ^ 1)
    photos = entry_table([leak, near, *manifest.photos])
    copies = Copies(replace(manifest, photos=photos))
    assert copies.find(leak).photo == trained
    assert copies.find(near).photo == trained


def test_what_is_no_photograph_of_this_machine_is_told(model, run, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    result = run("seen", tmp_path / "pipe.jpg", "https://example.org/a.jpg", "--model", model, "--json")
    assert result.code == 3
    errors = [row["error"] for row in json.loads(result.out)["photos"]]
    assert errors == ["It is not a file.", "Only files of this machine are looked at."]


def test_nearest_within_four_bits(manifest):
    copies = Copies(manifest)
    told = fingerprint("nowhere.jpg")
    hashed = manifest.photos[3].perceptual_hash
    for flipped, found in ((0b1111, True), (0b11111, False)):
        other = type(told)("0" * 64, hashed ^ (flipped << 20), None)
        copy = copies.find(other)
        assert (copy is not None and copy.photo == manifest.photos[3]) is found


def test_manifest_of_before_finds_the_same_files_only(manifest, dataset):
    rows = json.loads(manifest.to_json())
    for row in rows["photos"]:
        del row["perceptual_hash"]
    before = Manifest.from_json(json.dumps(rows), dataset)
    copies = Copies(before)
    assert (copies.hashed, len(copies)) == (0, len(manifest.photos))
    told = fingerprint(str(dataset / manifest.photos[0].path))
    assert copies.find(told).bits is None
    assert copies.find(type(told)("0" * 64, told.perceptual_hash, None)) is None
    assert Copies(manifest).hashed == len(manifest.photos)


def test_manifest_reads_back_with_its_hashes(manifest, dataset):
    assert Manifest.from_json(manifest.to_json(), dataset) == manifest
    wrong = manifest.to_json().replace(f"{manifest.photos[0].perceptual_hash:016x}", "12", 1)
    with pytest.raises(DataError, match=r"photos\[0\]\.perceptual_hash is \"12\""):
        Manifest.from_json(wrong, dataset)


@pytest.fixture
def model(manifest, tmp_path):
    """Return a shipped model that says that it was trained on the small dataset."""
    source = Bundle.load(FOLDER / "flowers5")
    folder = tmp_path / "model"
    folder.mkdir()
    for file in source.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    manifest.write(tmp_path / "split.json")
    add_files(Bundle.load(folder), {"split.json": tmp_path / "split.json"})
    return folder


def test_seen_says_what_was_done_with_each(model, manifest, dataset, run, tmp_path):
    by_split = {split: dataset / manifest.of_split(split)[0].path for split in ("train", "val", "test")}
    blotches(5).save(tmp_path / "new.png")
    result = run("seen", *by_split.values(), tmp_path / "new.png", "--model", model)
    assert result.code == 0
    for words in ("trained on", "chosen by", "kept for testing", "the same file"):
        assert words in result.out
    assert "new.png" not in result.out
    assert "3 of 4 photographs are known" in result.err
    assert "1 trained on, 1 chosen by, 1 kept for testing" in result.err


def test_seen_as_json(model, manifest, dataset, run, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    photo = manifest.of_split("train")[0]
    result = run("seen", dataset / photo.path, tmp_path / "broken.jpg", "--model", model, "--json")
    assert result.code == 3
    answer = json.loads(result.out)
    assert list(answer) == ["version", "model", "photos"]
    found, broken = answer["photos"]
    assert (found["seen"], found["listed"], found["copy_of"], found["split"]) == (True, True, photo.path, "train")
    assert (found["same_file"], found["bits"], found["is_outlier"]) == (True, 0, False)
    assert (broken["seen"], broken["listed"], broken["error"]) == (
        None,
        None,
        "It is not a picture in a format that can be read.",
    )


def test_seen_of_what_ships_finds_a_rescaled_photograph(photos, run, tmp_path):
    listed = Manifest.read(FOLDER / "garden" / "split.json").photos
    ours = {photo.path.partition("flower_photos-")[2]: photo for photo in listed if photo.source == "flower_photos"}
    path, photo = next(
        (photos / "roses" / name, ours[name]) for name in sorted(ours) if (photos / "roses" / name).exists()
    )
    with Image.open(path) as image:
        image.resize((image.width * 2 // 3, image.height * 2 // 3)).save(tmp_path / "small.jpg", quality=70)
    (row,) = json.loads(run("seen", tmp_path / "small.jpg", "--json").out)["photos"]
    assert (row["copy_of"], row["same_file"], row["split"]) == (photo.path, False, photo.split)


def test_seen_without_a_manifest_says_what_to_give(run, model, tmp_path):
    lone = tmp_path / "lone.onnx"
    lone.write_bytes((model / "model.int8.onnx").read_bytes())
    result = run("seen", "x.jpg", "--model", lone)
    assert result.code == 1
    assert "does not say which photographs" in result.err
    assert "--model BUNDLE" in result.err


def test_seen_tells_what_its_manifest_does_not_list(model, dataset, run):
    result = run("seen", dataset / "blue", "--model", model)
    assert result.code == 0
    assert "of which its split manifest lists" in result.err
