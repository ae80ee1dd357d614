"""Several photographs with one answer: which belong together, and what is made of their answers."""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image

from flowercli.errors import ImageError, UsageError
from flowercli.inference.classifier import Classifier
from flowercli.inference.groups import by_folder, by_name, grouped, parse_group, taken_at
from flowercli.inference.pipeline import Result, classify_stream
from flowercli.models import load_model


@pytest.fixture(scope="module")
def classifier():
    return Classifier.open(load_model("flowers5"), "cpu")


def answer(classifier, shares, known):
    return classifier.prediction(np.array(shares, dtype=np.float32), known, 0)


def test_folders_and_names():
    assert by_folder("a/b/1.jpg") == "a/b"
    assert by_folder("1.jpg") == "."
    assert by_folder("https://example.org/a/1.jpg") == "https://example.org/a/1.jpg"
    together = ("d/rose_1.jpg", "d/rose-02.png", "d/rose (3).jpg", "d/rose 004.jpg", "d/rose.jpg")
    assert {by_name(path) for path in together} == {"d/rose"}
    apart = (
        "IMG_1234.jpg", "DSC01.jpg", "12.jpg", "eeca3f6.jpg", "2026-07-01_101500.jpg", "2024-05-01.jpg",
        "2024-05-01 10.11.45.jpg", "photo_2024-05-01_10-11-01.jpg", "e/rose_1.jpg",
    )  # fmt: skip
    assert [by_name(path) for path in apart] == [path.rpartition(".")[0] for path in apart[:-1]] + ["e/rose"]
    assert by_name("-") == "-"


@pytest.mark.parametrize(
    "text", ["", "time", "time:", "time:x", "time:3d", "time:-3s", "folder:", "class", "time:9999999"]
)
def test_what_is_no_group_is_refused(text):
    with pytest.raises(UsageError, match="what belongs together"):
        parse_group(text)


def photograph(path: Path, taken: str | None) -> str:
    image, exif = Image.new("RGB", (40, 30), (200, 40, 60)), Image.Exif()
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    image.save(path, exif=exif)
    return str(path)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows sets no time zone")
def test_time_is_that_of_the_camera(tmp_path, monkeypatch):
    taken = [
        ("1.jpg", "2026:07:01 10:00:00"), ("2.jpg", "2026:07:01 10:00:30"), ("3.jpg", "2026:07:01 10:01:00"),
        ("4.jpg", "2026:07:01 10:01:31"), ("5.jpg", None), ("6.jpg", "2026:07:01 10:01:40"),
        ("7.jpg", "2026:07:01 10:01:20"), ("8.jpg", "no time"), ("9.webp", "2026:07:01 10:01:25"),
    ]  # fmt: skip
    paths = [photograph(tmp_path / name, when) for name, when in taken]
    (tmp_path / "other").mkdir()
    paths.append(photograph(tmp_path / "other" / "1.jpg", "2026:07:01 10:01:25"))
    assert taken_at(paths[1]) - taken_at(paths[0]) == 30
    assert taken_at(paths[-2]) is not None
    key = parse_group("time:30s")
    assert [key(path) for path in paths] == [1, 1, 1, 2, 3, 4, 4, 5, 6, 7]
    minute = parse_group("time:1m")
    assert [minute(path) for path in paths[:4]] == [1] * 4
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    ends = [photograph(tmp_path / f"{n}.jpg", f"2026:10:25 0{n}") for n in ("2:59:50", "3:00:05")]
    assert taken_at(ends[1]) - taken_at(ends[0]) == 15
    (tmp_path / "cut.jpg").write_bytes(Path(paths[0]).read_bytes()[:60])
    assert taken_at(str(tmp_path / "cut.jpg")) is taken_at("nowhere.jpg") is taken_at(str(tmp_path)) is None


def test_two_photographs_are_more_than_one_and_less_than_two(classifier):
    single = [0.6, 0.3, 0.05, 0.03, 0.02]
    results = [Result(f"d/{number}.jpg", answer(classifier, single, 0.9)) for number in range(4)]
    (together,) = grouped(results, by_folder, classifier, 0)
    expected = np.array(single) ** 2  # Four of them, to the power of a half each.
    expected /= expected.sum()
    values = [together.outcome.all_predictions[name] for name in classifier.answerable]
    assert values == pytest.approx(expected, abs=1e-5)
    assert together.outcome.known == pytest.approx(0.9, abs=1e-5)
    assert (together.path, together.members) == ("d", tuple(f"d/{number}.jpg" for number in range(4)))


def test_of_known_the_log_odds_are_averaged(classifier):
    odds = [0.99, 0.5]
    results = [Result(f"rose_{number}.jpg", answer(classifier, [0.2] * 5, known)) for number, known in enumerate(odds)]
    (together,) = grouped(results, by_name, classifier, 1)
    mean = sum(math.log(known / (1 - known)) for known in odds) / 2
    assert together.outcome.known == pytest.approx(1 / (1 + math.exp(-mean)), abs=1e-5)
    assert together.outcome.rejected is (together.outcome.known < classifier.bundle.rejection_threshold)
    assert (together.path, len(together.outcome.all_predictions)) == ("rose", 1)


def test_one_certain_photograph_does_not_outvote_all_others(classifier):
    certain, other = [1.0, 0, 0, 0, 0], [0.001, 0.9, 0.05, 0.03, 0.019]
    results = [Result("d/0.jpg", answer(classifier, certain, 1.0))]
    results += [Result(f"d/{number}.jpg", answer(classifier, other, 0.9)) for number in range(1, 5)]
    (together,) = grouped(results, by_folder, classifier, 0)
    assert together.outcome.predicted_class == classifier.answerable[1]
    assert all(math.isfinite(value) for value in together.outcome.all_predictions.values())


def test_broken_pictures_keep_their_rows_and_the_others_are_answered(classifier):
    broken = ImageError("empty", "It is empty: 0 bytes.")
    results = [
        Result("d/0.jpg", broken),
        Result("d/1.jpg", answer(classifier, [0.2] * 5, 0.9)),
        Result("e/2.jpg", broken),
    ]
    results[2:2] = [Result("d/2.jpg", broken), Result("d/3.jpg", answer(classifier, [0.2] * 5, 0.9))]
    found = list(grouped(results, by_folder, classifier, 5))
    assert [(one.path, one.members) for one in found] == [
        ("d/0.jpg", ()), ("d/2.jpg", ()), ("d", ("d/1.jpg", "d/3.jpg")), ("e/2.jpg", ())
    ]  # fmt: skip


def test_groups_stream(classifier):
    def endless():
        number = 0
        while True:
            yield Result(f"{number // 3}/x.jpg", answer(classifier, [0.2] * 5, 0.9))
            number += 1

    stream = grouped(endless(), by_folder, classifier, 1)
    assert [next(stream).path for _ in range(3)] == ["0", "1", "2"]


def test_one_photograph_is_answered_as_alone(classifier):
    (alone,) = classify_stream(classifier, [str(SAMPLES / "rose.jpg")], workers=1, top_k=0)
    (together,) = grouped([alone], parse_group("time:30s"), classifier, 0)
    assert together.path == alone.path
    assert together.outcome.confidence == pytest.approx(alone.outcome.confidence, abs=1e-4)
    assert together.outcome.known == pytest.approx(alone.outcome.known, abs=1e-5)


@pytest.fixture
def plants(tmp_path):
    for plant, sample in (("one", "rose"), ("two", "tulip")):
        (tmp_path / "plants" / plant).mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(SAMPLES / f"{sample}.jpg", tmp_path / "plants" / plant / f"{number}.jpg")
    return tmp_path / "plants"


def test_a_folder_is_a_row(plants, run, tmp_path):
    result = run("classify", plants, "--group", "folder", "--only", "rose,tulip", "--json")
    assert result.code == 0
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [(row["path"], row["predicted_class"], len(row["photos"])) for row in rows] == [
        (str(plants / "one"), "rose", 2),
        (str(plants / "two"), "tulip", 2),
    ]
    assert all(list(row["all_predictions"]) for row in rows)
    assert run("classify", plants, "--group", "folder", "--output", tmp_path / "x.csv").code == 0
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["predicted_class", "rose", "tulip"]
    table = run("classify", plants, "--group", "folder", "--format", "table")
    assert "one (2)" in table.out


@pytest.mark.parametrize(
    "options", [("--resume", "a.csv"), ("--output", "a.parquet"), ("--copy-to", "d"), ("--out", "d"), ("--group", "x")]
)
def test_what_has_an_answer_a_picture_does_not_go_with_it(run, plants, tmp_path, monkeypatch, options):
    if options[0] == "--out":
        pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
    monkeypatch.chdir(tmp_path)
    assert run("classify", plants, "--group", "folder", *options).code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plants"]
