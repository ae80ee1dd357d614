"""The page as a static site, in a real Chromium: it answers on the device, asks nobody, and says what it cannot."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from conftest import FLOWERS, SAMPLES
from PIL import Image
from support.browser import chromium, contents, export_site, host, visit

# Where many hosts put a site: not at their root.
BELOW = "gardens/flowers"
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
THREE = ("rose", "daisy", "sunflower")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def root(browser, tmp_path_factory):  # noqa: ARG001  (skips first where there is no browser)
    folder = tmp_path_factory.mktemp("host")
    export_site(folder / BELOW)
    return folder


@pytest.fixture(scope="module")
def address(root):
    with host(root) as url:
        yield f"{url}/{BELOW}/"


@pytest.fixture
def visitor(browser, address):
    with visit(browser) as opened:
        opened.open(address)
        yield opened


def test_three_dropped_pictures_get_three_right_answers_and_nothing_is_sent(visitor, address):
    assert all(url.startswith(address) for url in visitor.requests)
    visitor.requests.clear()
    visitor.drop(contents(SAMPLES / f"{name}.jpg" for name in THREE))
    answers = visitor.answers(3)
    # A thumbnail is a "request" to the browser's own memory.
    assert [url for url in visitor.requests if not url.startswith("blob:")] == []
    assert visitor.faults == []
    assert {name: text.split(":")[0] for name, text in answers.items()} == {f"{n}.jpg": n.title() for n in THREE}
    assert visitor.page.locator(".picture img:visible").count() == 3


def test_it_answers_with_threads_where_the_host_allows_them(browser, root):
    with host(root, ISOLATED) as url, visit(browser) as visitor:
        visitor.open(f"{url}/{BELOW}/")
        assert visitor.page.evaluate("crossOriginIsolated")
        visitor.drop(contents(SAMPLES / f"{name}.jpg" for name in FLOWERS))
        answers = visitor.answers(5)
        assert visitor.faults == []
    assert {name: text.split(":")[0] for name, text in answers.items()} == {f"{n}.jpg": n.title() for n in FLOWERS}


def test_answers_are_those_of_classify(visitor, run):
    result = json.loads(run("classify", SAMPLES / "tulip.jpg", "--json", "--model", "flowers5").out)
    visitor.drop(contents([SAMPLES / "tulip.jpg"]))
    assert visitor.answers(1)["tulip.jpg"].startswith("Tulip: ")
    shown = [text.split("\n")[0] for text in visitor.page.locator(".bars li").all_inner_texts()]
    assert shown == list(result["all_predictions"])


def test_a_picture_of_nothing_it_knows_is_rejected_in_words(visitor, run, tmp_path):
    Image.new("RGB", (400, 300), "white").save(tmp_path / "nothing.png")
    assert json.loads(run("classify", tmp_path / "nothing.png", "--json").out)["rejected"] is True
    visitor.drop(contents([tmp_path / "nothing.png"]))
    heading, _, detail = visitor.answers(1)["nothing.png"].partition(": ")
    assert heading in {"None of the 5 flowers I know", "Not sure"}
    assert re.fullmatch(rf"(Most like|The nearest is) ({'|'.join(FLOWERS)}), \d+\s%\.", detail)


def huge_png():
    """Return a PNG that claims 200 megapixels."""
    head = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 20_001)), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_files_that_cannot_be_read_get_words_and_the_others_an_answer(visitor):
    rose = (SAMPLES / "rose.jpg").read_bytes()
    damaged = io.BytesIO()
    Image.new("RGB", (64, 64)).save(damaged, "PNG")
    broken = bytearray(damaged.getvalue())
    broken[45:60] = b"\0" * 15
    files = {
        "notes.jpg": b"Buy bulbs\n",
        "cut.jpg": rose[: len(rose) // 2],
        "huge.png": huge_png(),
        "nothing.png": b"",
        "holiday.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "damaged.png": bytes(broken),
        "<b>rose & co</b>.jpg": rose,
    }
    visitor.drop(files)
    answers = visitor.answers(len(files))
    assert answers.pop("<b>rose & co</b>.jpg").startswith("Rose: ")
    assert answers == {
        "notes.jpg": "No answer: It is not a picture in a format that can be read.",
        "cut.jpg": "No answer: It is cut off: the end of the file is missing. Copy or download it again.",
        "huge.png": "No answer: It is too large: 200 megapixels, the limit is 89. A smaller copy will do.",
        "nothing.png": "No answer: It is empty: 0 bytes.",
        "holiday.heic": "No answer: This browser cannot read HEIC pictures. Save it as JPEG and try again.",
        "damaged.png": "No answer: It is damaged and cannot be read.",
    }
    assert visitor.page.locator("#announcer").inner_text() == "7 pictures answered, 6 of them could not be read."


def test_answers_can_be_saved_as_the_csv_of_classify(visitor, run, tmp_path):
    files = {**contents(SAMPLES / f"{name}.jpg" for name in THREE), "=broken,.jpg": b"no picture"}
    visitor.drop(files)
    visitor.answers(4)
    assert visitor.page.locator("#count").inner_text() == "4, 1 without an answer"
    with visitor.page.expect_download() as saving:
        visitor.page.locator("#save").click()
    header, *rows = csv.reader(Path(saving.value.path()).read_text().splitlines())
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = run("classify", *(tmp_path / name for name in files), "--format", "csv", "--model", "flowers5")
    expected_header, *expected = csv.reader(done.out.splitlines())
    assert header == expected_header
    by_name = {Path(row[0]).name: row[1:] for row in rows}
    for path, *cells in expected:
        found = by_name[Path(path).name]
        assert found[:2] == cells[:2]
        if not cells[6]:
            assert [float(value) for value in found[8:]] == pytest.approx(list(map(float, cells[8:])), abs=0.02)
    assert by_name["=broken,.jpg"][6] == "not_an_image"
    assert "./=broken,.jpg" in [row[0] for row in rows]


def test_pasted_pictures_are_answered(visitor):
    visitor.paste({"image.png": (SAMPLES / "daisy.jpg").read_bytes()})
    assert visitor.answers(1)["pasted picture 1"].startswith("Daisy: ")


@pytest.mark.parametrize("missing", ["vendor/ort.wasm.bundle.min.mjs", "model/model.int8.onnx", "page.json"])
def test_a_host_that_lost_a_part_is_told_in_words(browser, root, tmp_path, missing):
    site = shutil.copytree(root / BELOW, tmp_path / "site")
    (site / missing).unlink()
    with host(site) as url, visit(browser) as visitor:
        visitor.page.goto(url)
        visitor.page.locator("#notice", has_text="The model could not be fetched. Reload the page").wait_for()
        visitor.drop(contents([SAMPLES / "rose.jpg"]))
        assert visitor.answers(1)["rose.jpg"] == "No answer: There is nothing here that could answer."


def test_opened_as_a_file_it_says_that_it_must_be_served(browser, root):
    with visit(browser) as visitor:
        visitor.page.goto((root / BELOW / "index.html").as_uri())
        visitor.page.get_by_text("python -m http.server -d FOLDER").wait_for()
