"""``flowers download dataset`` as its user gets it: listed, named, checked, and every mistake told."""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from pathlib import Path

import pytest
from conftest import write_dataset
from support.transfers import CLASSES, PATH, packed, visible

pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.network]


def test_a_dataset_arrives_is_listed_used_and_removed(run, server, sha256, own_home, monkeypatch, tmp_path):
    done = run("download", "dataset", server.url(PATH), "--sha256", sha256)
    assert done.code == 0, done.err
    folder = own_home / "datasets" / "colours"
    assert done.out == f"{folder}\n"
    assert visible(folder) == CLASSES
    assert visible(own_home / "datasets") == ["colours"]
    assert "sha256 as expected" in done.err
    assert "flowers split colours" in done.err
    assert sum(path.stat().st_size for path in (own_home / "downloads").rglob("*") if path.is_file()) == 0

    requests = len(server.requests)
    again = run("download", "dataset", server.url(PATH), "--sha256", sha256, "--json")
    assert again.code == 0
    assert len(server.requests) == requests
    summary = json.loads(again.out)
    assert (summary["new"], summary["photos"], summary["counts"]) == (False, 15, dict.fromkeys(CLASSES, 5))

    (entry,) = json.loads(run("download", "--list", "--json").out)["installed"]
    assert (entry["name"], entry["source"], entry["sha256"]) == ("colours", server.url(PATH), sha256)
    assert "colours" in run("download", "--list").out

    monkeypatch.chdir(tmp_path)  # Where nothing has this name.
    split = run("split", "colours", "--json")
    assert split.code == 0
    assert json.loads(split.out)["manifest"] == str(folder / "flowers-split.json")

    removed = run("download", "--remove", "colours")
    assert removed.code == 0
    assert not folder.exists()
    assert json.loads(run("download", "--list", "--json").out) == {"version": 1, "installed": [], "unfinished": 0}
    missing = run("download", "--remove", "colours")
    assert missing.code == 1
    assert "Nothing downloaded is called 'colours'" in missing.err


def test_training_takes_the_name(run, server, sha256, own_home, monkeypatch, tmp_path):
    pytest.importorskip("hydra", reason="needs the extra 'train'")
    assert run("download", "dataset", server.url(PATH), "--sha256", sha256).code == 0
    monkeypatch.chdir(tmp_path)
    shown = run("train", "--data", "colours", "--print-config")
    assert f"path: {own_home / 'datasets' / 'colours'}" in shown.out


def test_without_a_sha256_it_says_so_and_gives_what_it_found(run, server, sha256):
    done = run("download", "dataset", server.url(PATH) + "?signature=secret", "--name", "mine")
    assert done.code == 0
    assert f"--sha256 {sha256}" in done.err
    assert "secret" not in done.err + run("download", "--list", "--json").out


def test_output_elsewhere_is_recorded_but_not_deleted(run, server, sha256, tmp_path):
    output = tmp_path / "else" / "where"
    done = run("download", "dataset", server.url(PATH), "--sha256", sha256, "--output", output)
    assert done.out == f"{output}\n"
    assert visible(output) == CLASSES
    assert visible(output.parent) == ["where"]
    assert json.loads(run("download", "--list", "--json").out)["installed"][0]["path"] == str(output)
    forgotten = run("download", "--remove", "colours")
    assert f"left as it is: {output}" in forgotten.err
    assert visible(output) == CLASSES


def test_a_path_and_a_zip_in_the_wrong_folder_are_fine(run, tmp_path):
    """Some archives wrap their class folders several times."""
    photos = write_dataset(tmp_path / "photos", photos=2)
    with zipfile.ZipFile(tmp_path / "My flowers (1).zip", "w") as archive:
        for path in photos.rglob("*.jpg"):
            archive.write(path, Path("a", "b", path.relative_to(photos)))
    done = run("download", "dataset", tmp_path / "My flowers (1).zip")
    assert done.code == 0, done.err
    assert visible(done.out.strip()) == CLASSES
    assert Path(done.out.strip()).name == "My-flowers-1"


def test_what_is_split_already_is_split_as_it_is_told(run, tmp_path):
    for part in ("train", "valid"):
        write_dataset(tmp_path / "tree" / part, photos=2)
    archive = tmp_path / "parts.tgz"
    archive.write_bytes(packed(tmp_path / "tree"))
    for _ in ("new", "there already"):
        done = run("download", "dataset", archive, "--output", tmp_path / "my parts")
        assert done.code == 0, done.err
        (told,) = re.findall("Next: (.+)", done.err)
        assert told == f"flowers split '{tmp_path / 'my parts'}' --by-folder"
    assert run(*shlex.split(told)[1:]).code == 0


def test_unreadable_photographs_are_told(run, tmp_path):
    photos = write_dataset(tmp_path / "photos", photos=2)
    (photos / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / "some.tgz").write_bytes(packed(photos))
    done = run("download", "dataset", tmp_path / "some.tgz", "--json")
    summary = json.loads(done.out)
    assert summary["counts"] == dict.fromkeys(CLASSES, 2)
    assert [entry["path"] for entry in summary["unreadable"]] == ["blue/broken.jpg"]
    assert "1 photographs cannot be read" in done.err


def test_an_archive_that_is_no_dataset_leaves_nothing(run, tmp_path, own_home):
    (tmp_path / "docs" / "one").mkdir(parents=True)
    (tmp_path / "docs" / "one" / "text.txt").write_text("hello", encoding="utf-8")
    (tmp_path / "docs.tgz").write_bytes(packed(tmp_path / "docs"))
    done = run("download", "dataset", tmp_path / "docs.tgz")
    assert done.code == 1
    assert "no two class folders" in done.err
    assert visible(own_home / "datasets") == []
    assert list((own_home / "datasets").iterdir()) == []


def test_another_dataset_of_the_same_name_is_not_overwritten(run, server, sha256):
    assert run("download", "dataset", server.url(PATH), "--sha256", sha256).code == 0
    done = run("download", "dataset", server.url(PATH), "--sha256", "0" * 64)
    assert done.code == 2
    assert "there already" in done.err
    assert "flowers download --remove colours" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense",), "neither a source, an address nor an archive"),
        (("ftp://127.0.0.1/x.tgz",), "no such kind of address"),
        (("http://127.0.0.1:99999/x.tgz",), "not an address that can be fetched"),
        (("http://[::1/x.tgz",), "not an address that can be fetched"),
        (("http:///x.tgz",), "no host"),
        (("https://user:secret@127.0.0.1/x.tgz",), "login in an address"),
        (("dvc",), "flowers data pull"),
        (("tensorflow", "--sha256", "abc"), "64 hexadecimal digits"),
        (("tensorflow", "--name", "../up"), "only letters"),
        (("file:///nothing/there.tgz",), "cannot be read"),
    ],
)
def test_a_mistake_is_told(run, arguments, message):
    done = run("download", "dataset", *arguments)
    assert done.code in (1, 2)
    assert message in done.err
    assert "secret" not in done.err
    assert done.out == ""
