"""``flowers eval --report``: one page that holds all it shows, asks for nothing, and runs nothing."""

from __future__ import annotations

import base64
import io
import json
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_picture
from PIL import Image

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from flowercli.bundle import Bundle
from flowercli.evaluation.answers import Answers
from flowercli.evaluation.evaluate import Evaluation
from flowercli.evaluation.metrics import evaluate
from flowercli.reporting.page import confident_mistakes, thumbnail
from flowercli.reporting.report import read_history, write_report

VOID = {"meta", "img", "link", "br", "hr", "input"}
HOSTILE = ["<script>alert(1)</script>", '" onmouseover="alert(1)', "</svg></style>&amp;", "\ud800 $x_"]
HISTORY = [{"epoch": 1, "loss": 2.0, "learning_rate": 1e-3, "val_accuracy": 0.5, "val_loss": 1.0}]


class Page(HTMLParser):
    """Reads a page and keeps its elements, its headings and its text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.words, self.headings = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] in {"h1", "h2", "h3"}:
            self.headings.append((self.open[-1], data))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(self.words)


def check_page(text):
    """Return a page that is well-formed, harmless and can be read by a screen reader."""
    page = Page(text)
    assert "http://" not in text
    assert "https://" not in text
    assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object", "embed", "link", "base", "form"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), (tag, attributes)
    assert "default-src 'none'" in page.all("meta")[4]["content"]
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    assert all(cell.get("scope") for cell in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [level for level, _ in page.headings].count("h1") == 1
    return page


def made_evaluation(folder, count=120, names=HOSTILE, right=0.4, section=None):
    """Return an evaluation of made-up answers about real files, and its data."""
    generator = np.random.default_rng(0)
    paths = [f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        write_picture(folder / path, (200, 60, 90), number)
    targets = np.arange(count) % len(names)
    predictions = np.where(generator.random(count) < right, targets, (targets + 1) % len(names))
    probabilities = generator.dirichlet(np.ones(len(names)), count) * 0.5 + 0.5 * np.eye(len(names))[predictions]
    embeddings = generator.normal(size=(count, 8)).astype(np.float32)
    answers = Answers(paths, targets, probabilities, embeddings, probabilities.max(axis=1))
    config = {"architecture": "tiny<b>", "label_names": names, "flowers": section or {}}
    metrics = evaluate(probabilities, targets, names)
    evaluation = Evaluation(Bundle(folder / "<i>bundle", config), "val", {"int8": metrics}, {"int8": answers})
    return evaluation, SimpleNamespace(root=folder, manifest=SimpleNamespace(dataset_sha256="ab" * 32))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    path = '"><script>x</script>'
    provenance = {"data_path": "/secret/place", "config": {"data": {"path": "/secret/place"}, "note": path}}
    section = {"history": HISTORY, "provenance": {**provenance, "git_revision": path}}
    evaluation, data = made_evaluation(folder, section=section)
    target = folder / "page.html"
    target.write_text("what was there before")
    write_report(target, evaluation, data)
    return evaluation, target.read_text(encoding="utf-8")


def test_hostile_names_are_text(hostile):
    page = check_page(hostile[1])
    for name in (*HOSTILE[:3], '"><script>x</script>', "<i>bundle"):
        assert name in page.text, name
    assert "/secret/place" not in hostile[1]


def test_size_is_bounded(hostile):
    assert len(hostile[1]) < 3_000_000
    assert len(Page(hostile[1]).all("img")) == 24


def test_everything_is_there(hostile):
    page = Page(hostile[1])
    shown = {figure["id"] for figure in page.all("figure")}
    drawings = {"confusion-matrix", "precision-recall", "reliability", "embedding-map"}
    assert shown == drawings | {"learning-curves", "learning-rate"}
    for word in (
        "ab" * 32,
        "validation",
        "Top-2 accuracy",
        "Calibration error",
        "Always",
        "The 24 surest of",
        "Provenance",
    ):
        assert word in page.text, word


def test_of_many_classes_the_most_frequent_confusions_come_first(tmp_path):
    evaluation, data = made_evaluation(tmp_path, names=[f"flower_{number}" for number in range(40)], count=160)
    write_report(tmp_path / "page.html", evaluation, data)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    check_page(text)
    places = [text.index(part) for part in ("The most frequent of", 'id="most-confused"', 'id="confusion-matrix"')]
    assert places == sorted(places)
    assert "The 7 of 40 classes that are confused most" in text
    assert "40, listed below" in text


def test_surest_mistakes_come_first(hostile):
    answers = hostile[0].answers["int8"]
    mistakes = confident_mistakes(answers, HOSTILE)
    assert [item.confidence for item in mistakes] == sorted((item.confidence for item in mistakes), reverse=True)
    wrong = {path for path, right in zip(answers.paths, answers.right, strict=True) if not right}
    assert {item.path for item in mistakes} <= wrong
    least = min(item.confidence for item in mistakes)
    shown = {item.path for item in mistakes}
    rest = [row.max() for row, path in zip(answers.probabilities, answers.paths, strict=True) if path in wrong - shown]
    assert max(rest) <= least
    assert all(item.is_ != item.named for item in mistakes)


def test_thumbnail_is_small_and_upright(tmp_path):
    for size, orientation, expected in (
        ((400, 200), 6, (80, 160)),
        ((1600, 1200), 1, (213, 160)),
        ((900, 100), 1, None),
    ):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", size, "red").save(tmp_path / "a.jpg", exif=exif)
        head, _, data = thumbnail(tmp_path / "a.jpg").partition(",")
        assert head == "data:image/jpeg;base64"
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert expected is None or image.size == expected
        assert image.width <= 320
        assert image.height <= 160
        assert not image.getexif()


def test_no_mistake_and_no_history(tmp_path):
    evaluation, data = made_evaluation(tmp_path, 8, ["daisy", "rose"], right=2)
    write_report(tmp_path / "page.html", evaluation, data)
    page = check_page((tmp_path / "page.html").read_text())
    assert "None of the photographs was named wrongly" in page.text
    assert "Learning curves" not in page.text
    assert not page.all("img")


def test_damaged_history_is_left_out():
    def read(history):
        return read_history(Bundle("x", {"flowers": {"history": history}}))

    assert read(HISTORY) == HISTORY
    for damaged in (None, "x", [1], [{}], [{"epoch": 1, "loss": "2"}], [{"epoch": 1, "loss": float("nan")}]):
        assert read(damaged) == []
    assert read([*HISTORY, {"epoch": 2, "loss": 1.0, "val_loss": "x"}, {"epoch": 3, "loss": 1}])[1]["epoch"] == 3


def test_page_of_a_real_bundle(own_bundle, run, tmp_path):
    target = tmp_path / "page.html"
    result = run("eval", own_bundle, "--split", "train", "--report", target, "--json")
    assert result.code == 0, result.err
    assert str(target) in result.err
    variants = json.loads(result.out)["variants"]
    page = check_page(target.read_text())
    assert {"torch", "onnx", "int8"} <= set(page.words)
    assert f"{variants['int8']['right']} of {variants['int8']['photos']} training photographs" in page.text
    assert sorted(tmp_path.iterdir()) == [own_bundle, target]


def test_page_of_doubtful_labels(own_bundle, run, tmp_path):
    pytest.importorskip("cleanlab")
    target = tmp_path / "page.html"
    result = run("eval", own_bundle, "--find-label-errors", "--report", target, "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["label_errors"]
    page = check_page(target.read_text())
    assert [words for words in page.words if words in {f"{row['path']} ({row['split']})" for row in rows}] == [
        f"{row['path']} ({row['split']})" for row in rows
    ]
    assert len(page.all("img")) == len(rows)
    assert f"{len(rows)} of 120 labels" in page.text


@pytest.mark.parametrize("target", ["", "missing/page.html"])
def test_target_is_checked_before_the_work(own_bundle, run, tmp_path, target):
    before = (own_bundle / "config.json").read_bytes()
    result = run("eval", own_bundle, "--report", tmp_path / target)
    assert result.code == 2
    assert "--report" in result.err
    assert "Traceback" not in result.err
    assert (own_bundle / "config.json").read_bytes() == before


def test_report_does_not_go_with_against(own_bundle, run, tmp_path):
    result = run("eval", own_bundle, "--against", own_bundle, "--report", tmp_path / "page.html")
    assert result.code == 2
    assert "--against" in result.err


def test_photographs_that_are_gone_are_the_usual_error(own_bundle, own_dataset, run, tmp_path):
    shutil.rmtree(own_dataset)
    result = run("eval", own_bundle, "--data", own_dataset, "--report", tmp_path / "page.html")
    assert result.code == 1
    assert "--data DIR" in result.err
    assert not (tmp_path / "page.html").exists()
