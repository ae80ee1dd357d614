"""Shards: `flowers pack`, killed and gone on with; what WebDataset reads of them, and what is refused."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import write_dataset

from flowercli.cli.pack import parse_size
from flowercli.data.changes import added, changed
from flowercli.data.manifest import Manifest
from flowercli.data.places import find_manifest
from flowercli.data.shards import INDEX, Shards, photographs
from flowercli.errors import DataError, ImageError, UsageError


@pytest.fixture(scope="module")
def split_dataset(tmp_path_factory):
    folder = write_dataset(tmp_path_factory.mktemp("data") / "colours", photos=30)
    assert subprocess.run([sys.executable, "-m", "flowercli", "split", folder], capture_output=True).returncode == 0  # noqa: PLW1510
    return folder


@pytest.fixture
def packed(split_dataset, tmp_path, run):
    done = run("pack", split_dataset, "--output", tmp_path / "packed", "--size", "20KB")
    assert (done.code, done.out) == (0, f"{tmp_path / 'packed'}\n"), done.err
    return tmp_path / "packed"


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_each_photograph_is_found_as_it_is(split_dataset, packed):
    manifest = Manifest.read(find_manifest(packed))
    assert manifest == Manifest.read(find_manifest(split_dataset))
    files, shards = (photographs(root, manifest.photos) for root in (split_dataset, packed))
    assert [Path(path).read_bytes() for path in files] == list(shards)
    some = (files + shards)[len(files) - 2 :: 3]
    assert list(some) == [files[-2], shards[1], *shards[4::3]]
    assert [some.name(0), some.name(1)] == [files[-2], f"{packed}/{manifest.photos[1].path}"]
    assert not changed(packed, manifest.photos)
    assert not added(packed, manifest)
    assert len(list(packed.glob("train-*.tar"))) > 2


def test_webdataset_reads_them(split_dataset, packed):
    webdataset = pytest.importorskip("webdataset", reason="is of the group 'test'")
    manifest = Manifest.read(find_manifest(packed))
    found = {}
    for split in ("train", "val", "test"):
        shards = sorted(map(str, packed.glob(f"{split}-*.tar")))
        # From pipes, which it closes; files it leaves open.
        pipes = [f"pipe:cat {shard}" for shard in shards]
        for sample in webdataset.WebDataset(pipes, shardshuffle=False).decode():
            row = sample["json"]
            assert row["split"] == split
            assert sample["cls"] == manifest.class_names.index(row["class_name"])
            found[row["path"]] = sample["jpg"]
    assert found == {photo.path: (split_dataset / photo.path).read_bytes() for photo in manifest.photos}


def test_a_pack_that_is_killed_goes_on_and_ends_the_same(split_dataset, tmp_path, run):
    output = tmp_path / "killed"
    command = [sys.executable, "-m", "flowercli", "pack", split_dataset, "--output", output, "--size", "1KB"]
    begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(output.glob("train-*.tar")):
        assert begun.poll() is None
        time.sleep(0.002)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    if not (output / INDEX).exists():
        with pytest.raises(DataError, match="not finished"):
            photographs(output, Manifest.read(find_manifest(output)).photos)
    whole = len(list(output.glob("*.tar")))
    done = run(*command[3:])
    assert done.code == 0, done.err
    assert f", {whole} of them packed before, " in done.err
    assert run("pack", split_dataset, "--output", tmp_path / "fresh", "--size", "1KB").code == 0
    assert contents(output) == contents(tmp_path / "fresh")


def test_what_the_manifest_does_not_say_is_not_packed(split_dataset, own_dataset, tmp_path, run):
    assert run("pack", own_dataset, "--output", tmp_path / "packed").err.endswith(f"flowers split {own_dataset}\n")
    assert run("split", own_dataset).code == 0
    path = own_dataset / Manifest.read(find_manifest(own_dataset)).photos[50].path
    was = path.read_bytes()
    for change, said in (
        (lambda: path.write_bytes(was + b"x"), "was edited since the split"),
        (path.unlink, "No such"),
    ):
        change()
        done = run("pack", own_dataset, "--output", tmp_path / "packed", "--size", "5KB")
        assert done.code == 1
        assert f"{path} " in done.err
        assert said in done.err
        assert f"flowers pack {own_dataset} --output {tmp_path / 'packed'}" in done.err
        assert not (tmp_path / "packed" / INDEX).exists()
        assert not [each for each in tmp_path.glob("packed/*") if each.name.startswith(".partial-")]
    path.write_bytes(was)
    assert run("pack", own_dataset, "--output", tmp_path / "packed", "--size", "5KB").code == 0
    for other, size in ((split_dataset, "5KB"), (own_dataset, "6KB")):
        done = run("pack", other, "--output", tmp_path / "packed", "--size", size)
        assert done.code == 2
        assert "holds shards of another split, or of another size" in done.err
    assert run("pack", own_dataset, "--output", own_dataset).code == 2
    assert "which are split already" in run("split", tmp_path / "packed").err
    assert "holds shards already" in run("pack", tmp_path / "packed", "--output", tmp_path / "twice").err


def test_shards_from_elsewhere_are_held_to_what_they_say(packed):
    manifest = Manifest.read(find_manifest(packed))
    shard = next(packed.glob("val-*.tar"))
    whole, photos = shard.read_bytes(), manifest.of_split("val")
    shard.write_bytes(whole[:600] + b"\0" + whole[601:])
    with pytest.raises(ImageError, match=f"{shard.name} does not hold what was packed"):
        list(photographs(packed, photos))
    shard.write_bytes(whole[:600])
    with pytest.raises(DataError, match="shorter than their index says"):
        Shards(packed)
    shard.write_bytes(whole)
    index = np.load(packed / INDEX)
    np.save(packed / INDEX, index[1:])
    with pytest.raises(DataError, match="1 photographs are not in the shards"):
        photographs(packed, manifest.photos)
    assert len(changed(packed, manifest.photos).removed) == 1
    for damaged in (b"", b"\x93NUMPY", np.zeros(3)):
        if isinstance(damaged, bytes):
            (packed / INDEX).write_bytes(damaged)
        else:
            np.save(packed / INDEX, damaged)
        with pytest.raises(DataError, match="are damaged"):
            Shards(packed)
    head = json.loads((packed / "shards.json").read_text())
    for names in (["../../etc/passwd"], ["train-00000.tar", "/etc/passwd"], [3], None):
        (packed / "shards.json").write_text(json.dumps(head | {"shards": names}))
        with pytest.raises(DataError, match=r"is damaged|not what this version reads"):
            Shards(packed)


def test_sizes():
    assert [parse_size(text) for text in ("64MB", "1 gb", "3KB")] == [64 * 10**6, 10**9, 3000]
    for text in ("", "0MB", "12", "1.5GB", "-1MB"):
        with pytest.raises(UsageError, match="not a size"):
            parse_size(text)
