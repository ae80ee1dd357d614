"""Folders, globs and lists become streams of paths: sorted folder by folder, each once, and nothing is collected."""

from __future__ import annotations

import glob
import io
import os
import random
import subprocess
from pathlib import Path

import pytest
from conftest import SAMPLES, command

from flowercli.inference import listing
from flowercli.inference.patterns import count_below, expand_glob, is_picture, is_subfolder, walk
from flowercli.inference.sources import expand, how_many

SEED = 20261201
PATTERNS = (
    "*",
    "**",
    "**/*",
    "*/*.jpg",
    "**/*.jpg",
    "a*/**/*.jpg",
    "**/b/**/*.jpg",
    "**/a/b/*",
    "*/b/",
    "*/",
    "a/*/../*.jpg",
    "./[ab]/**",
    "**/**/c.jpg",
    "a/b/?.jpg",
    ".*",
    "nothing*",
)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree of folders called a, b and c, with pictures of such names, notes, hidden ones, and links."""
    generator = random.Random(SEED)
    folders = [Path(), *(Path(name) for name in ("a", "b", "c", "a/b"))]
    for folder in folders:
        (tmp_path / folder).mkdir(exist_ok=True)
    for _ in range(25):
        folder = generator.choice(folders) / generator.choice("abc")
        (tmp_path / folder).mkdir(exist_ok=True)
        folders.append(folder)
    for folder in folders:
        for name in generator.sample(["a.jpg", "b.jpg", "c.jpg", "d.PNG", "notes.txt", ".hidden.jpg"], 3):
            (tmp_path / folder / name).touch()
    (tmp_path / ".d").mkdir()
    (tmp_path / ".d" / "a.jpg").touch()
    (tmp_path / "a" / "loop").symlink_to("..")
    (tmp_path / "zz").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(folder):
    """Return what a folder is listed as."""
    names = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return [name for name in names if name.lower().endswith((".jpg", ".png")) and "/." not in name]


@pytest.mark.parametrize("most", [1, 2, 25_000])
def test_a_folder_is_listed_in_order_however_little_is_held(tree, monkeypatch, most):
    for number in random.Random(SEED).sample(range(1000), 200):
        (tree / "b" / f"{number:03}.jpg").touch()
    monkeypatch.setattr(listing, "MOST_AT_ONCE", most)
    monkeypatch.setattr(listing, "ENTRIES", most)
    found = list(walk(str(tree)))
    assert sorted(found) == sorted(listed(tree))
    assert count_below(str(tree)) == len(found) == how_many([str(tree)])
    by_folder = {}
    for path in found:
        by_folder.setdefault(str(Path(path).parent), []).append(path)
    assert all(paths == sorted(paths) for paths in by_folder.values())
    assert [path for paths in by_folder.values() for path in paths] == found  # A folder's stand together.
    assert next(iter(by_folder)) == str(tree)


def test_no_more_names_are_held_than_that(tmp_path, monkeypatch):
    for number in range(300):
        (tmp_path / f"{number:03}.jpg").touch()
    monkeypatch.setattr(listing, "MOST_AT_ONCE", 20)
    monkeypatch.setattr(listing, "ENTRIES", 5)
    held = []
    take = listing.Least.take

    def watched(self, entries):
        take(self, entries)
        held.append(len(self.names))

    monkeypatch.setattr(listing.Least, "take", watched)
    pictures, folders = listing.in_order(str(tmp_path), is_picture, is_subfolder)
    assert (len(list(pictures)), list(folders)) == (300, [])
    assert max(held) < 40


def test_what_goes_while_a_folder_is_listed_is_met_once_or_not(tmp_path, monkeypatch):
    for number in range(100):
        (tmp_path / f"{number:03}.jpg").touch()
    monkeypatch.setattr(listing, "MOST_AT_ONCE", 10)
    monkeypatch.setattr(listing, "ENTRIES", 5)
    found = []
    for path in walk(str(tmp_path)):
        found.append(Path(path).name)
        Path(path).rename(tmp_path / f"0{Path(path).name}")  # Its new name comes before all that follow.
    assert found == [f"{number:03}.jpg" for number in range(100)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_globs_match_what_pythons_match_and_each_once(tree, pattern):
    (tree / "a" / "loop").unlink()  # Python's follows it.
    expected = set()
    for match in glob.glob(pattern, recursive=True):
        is_through_link = "**" in pattern and (match.startswith("zz/") or (match, pattern) == ("zz", "**"))
        is_note = pattern.endswith("**") and match.endswith(".txt")  # That means folders, which are walked.
        if not is_through_link and not is_note:
            expected.update(walk(match.rstrip("/")) if os.path.isdir(match) else [match])
    found = list(expand_glob(pattern))
    assert len(found) == len(set(found))
    assert set(map(os.path.normpath, found)) == set(map(os.path.normpath, expected or [pattern]))


def test_a_link_in_a_circle_hides_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for link in ("d/circle.jpg", "circle"):
        (tmp_path / link).symlink_to(tmp_path / link)
    (tmp_path / "d" / "a.jpg").touch()
    assert list(expand_glob("*/a.jpg")) == ["d/a.jpg"]
    assert list(expand_glob("d/*.jpg")) == ["d/a.jpg", "d/circle.jpg"]


@pytest.mark.usefixtures("tree")
def test_a_glob_waits_for_no_other_folder(monkeypatch):
    read = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: read.append(folder) or scandir(folder))
    assert next(expand_glob("**/*.jpg")).endswith(".jpg")
    assert len(read) <= 2


def test_the_first_of_a_list_waits_for_no_other():
    with subprocess.Popen(
        command("classify", "-", "--json"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        process.stdin.write(f"{SAMPLES / 'rose.jpg'}\0{SAMPLES / 'tul'}".encode())  # It goes on, as of find -print0.
        assert b"rose.jpg" in process.stdout.readline()
        process.stdin.write(b"ip.jpg\0")
        assert b"tulip.jpg" in process.stdout.readline()
        process.stdin.close()
        assert process.stdout.read() == b""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.jpg\r\nb.jpg", ["a.jpg", "b.jpg"]),
        (b"a\nb.jpg\0c.jpg\0", ["a\nb.jpg", "c.jpg"]),
        (b"\xe9.jpg\n\n-\n", ["\udce9.jpg"]),
        (b"\xc3" * 3 + b"\n", ["\udcc3" * 3]),
        (b"", []),
    ],
)
def test_lists_are_taken_apart(content, expected):
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)), encoding="utf-8", errors="surrogateescape")
    assert list(expand(["-"], stdin)) == expected


@pytest.mark.usefixtures("tree")
def test_how_many_there_are_is_not_asked_of_lists_and_stores():
    assert how_many(["a/*.jpg", "nothing", "https://example.org/a.jpg"]) == len(glob.glob("a/*.jpg")) + 2
    assert how_many(["a", "-"]) is None
    assert how_many(["s3://bucket/photos"]) is None
