"""File names that are no words, and pictures as phones take them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import SAMPLES, command
from PIL import Image

ROSE = SAMPLES / "rose.jpg"
NOT_TEXT = b"not \xff text.jpg"
NAMES = ["white space.jpg", "ünï–côdé 花.jpg", "[1].jpg", "-dash.jpg", "[red]markup[_].jpg"]
HAS_PLUGIN = importlib.util.find_spec("pillow_heif") is not None


def classify(*arguments: object, encoding: str = "utf-8:strict", **options) -> subprocess.CompletedProcess[bytes]:
    """Run the program; its output as bytes."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(
        command("classify", *arguments), capture_output=True, check=False, timeout=60, env=environment, **options
    )


def test_odd_names(run, tmp_path):
    for name in NAMES:
        shutil.copy(ROSE, tmp_path / name)
    answers = [json.loads(line) for line in run("classify", tmp_path, "--json").out.splitlines()]
    assert sorted(Path(answer["path"]).name for answer in answers) == sorted(NAMES)
    assert run("classify", tmp_path / "[1].jpg").code == 0


@pytest.mark.parametrize("encoding", ["utf-8:strict", "latin-1:strict", "ascii"])
def test_every_line_of_json_can_be_read_and_gives_the_file_back(tmp_path, encoding):
    names = {NOT_TEXT, "花🌸.jpg".encode(), b"two\nlines.jpg"}
    for name in names:
        shutil.copy(ROSE, os.fsencode(tmp_path) + b"/" + name)
    done = classify(tmp_path, "--json", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    paths = [json.loads(line.decode(encoding.split(":")[0], "strict"))["path"] for line in done.stdout.splitlines()]
    assert {os.fsencode(Path(path).name) for path in paths} == names


def test_a_name_neither_breaks_a_row_nor_steers_a_terminal(tmp_path):
    for name in ("two\nlines.jpg", "a\ttab.jpg", "clear\x1b[2J.jpg"):
        shutil.copy(ROSE, tmp_path / name)
    done = classify(tmp_path)
    rows = [row.split("\t") for row in done.stdout.decode().splitlines()]
    assert [row[1] for row in rows] == ["rose"] * 3
    assert sorted(row[0].rpartition("/")[2] for row in rows) == [r"a\ttab.jpg", r"clear\x1b[2J.jpg", r"two\nlines.jpg"]


@pytest.mark.parametrize("print0", ["-print", "-print0"])
def test_paths_from_find(tmp_path, print0):
    names = [NOT_TEXT, b"plain.jpg", *([b"two\nlines.jpg"] if print0 == "-print0" else [])]
    for name in names:
        shutil.copy(ROSE, os.fsencode(tmp_path) + b"/" + name)
    listing = subprocess.run(["find", tmp_path, "-name", "*.jpg", print0], capture_output=True, check=True).stdout
    done = classify("-", "--json", input=listing)
    assert (done.returncode, done.stderr) == (0, b"")
    found = [os.fsencode(Path(json.loads(line)["path"]).name) for line in done.stdout.splitlines()]
    assert sorted(found) == sorted(names)


@pytest.mark.skipif(HAS_PLUGIN, reason="the extra 'heif' is installed")
def test_a_heic_picture_without_the_plugin_says_what_to_install(run, tmp_path):
    phone = tmp_path / "IMG_0001.HEIC"
    phone.write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    result = run("classify", tmp_path, "--json")
    error = json.loads(result.out)["error"]
    assert (result.code, error["code"]) == (3, "needs_heif")
    assert error["message"] == "It is a HEIC picture, which is read with the extra 'heif'."
    assert re.search(r"^To read HEIC pictures: .*\[heif\]", result.err)


@pytest.mark.skipif(not HAS_PLUGIN, reason="the extra 'heif' is not installed")
def test_a_heic_picture_gets_the_answer_of_its_jpeg(run, tmp_path):
    import pillow_heif

    pillow_heif.register_heif_opener()
    with Image.open(ROSE) as picture:
        picture.rotate(90, expand=True).save(tmp_path / "IMG_0001.HEIC", exif=turned_right())
    (tmp_path / "IMG_0002.HEIC").write_bytes((tmp_path / "IMG_0001.HEIC").read_bytes()[:5000])
    result = run("classify", tmp_path, "--json")
    whole, cut = (json.loads(line) for line in result.out.splitlines())
    assert whole["predicted_class"] == "rose"
    assert whole["confidence"] == pytest.approx(confidence(run("classify", ROSE, "--json").out), abs=0.01)
    assert cut["error"]["code"] in {"truncated", "unreadable", "not_an_image"}


def turned_right() -> Image.Exif:
    """Return the EXIF data of a picture that must be turned to be upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def confidence(line: str) -> float:
    """Return the confidence of an answer."""
    return json.loads(line)["confidence"]
