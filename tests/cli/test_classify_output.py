"""What ``flowers classify`` makes of its answers: formats, files, pictures sorted into folders and brought back."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import FLOWERS, SAMPLES, command, default_interrupt, in_terminal
from PIL import Image

from flowercli.models import load_model

COLUMNS = [
    "path",
    "predicted_class",
    "scientific_name",
    "confidence",
    "known",
    "rejected",
    "reason",
    "error",
    "message",
]


@pytest.fixture
def pictures(tmp_path):
    """A folder with five flowers, a picture of none and a file that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in FLOWERS:
        (folder / f"{name}.jpg").write_bytes((SAMPLES / f"{name}.jpg").read_bytes())
    Image.new("RGB", (200, 200), (120, 120, 120)).save(folder / "wall.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def files_below(folder):
    """Return the relative path of each file, lists of what was done left out."""
    paths = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in paths if "undo-" not in path)


def rows(text, delimiter=","):
    """Return header and rows."""
    header, *others = csv.reader(text.splitlines(), delimiter=delimiter)
    return header, [dict(zip(header, row, strict=True)) for row in others]


def test_csv_has_every_class(run, pictures):
    result = run("classify", pictures, "--format", "csv")
    header, found = rows(result.out)
    assert header == [*COLUMNS, *load_model(None).class_names]
    assert [Path(row["path"]).name for row in found] == sorted(path.name for path in pictures.iterdir())
    by_name = {Path(row["path"]).name: row for row in found}
    assert by_name["broken.jpg"]["error"] == "not_an_image"
    assert by_name["wall.jpg"]["rejected"] == "true"
    assert by_name["wall.jpg"]["reason"] == "not_a_known_flower"
    rose = by_name["rose.jpg"]
    assert (rose["predicted_class"], rose["scientific_name"], rose["rejected"]) == ("rose", "Rosa", "false")
    values = {name: float(rose[name]) for name in load_model(None).class_names}
    assert max(values, key=values.get) == "rose"
    assert values["rose"] == float(rose["confidence"])
    assert sum(values.values()) == pytest.approx(1, abs=1e-3)
    header, _ = rows(run("classify", SAMPLES / "rose.jpg", "--format", "csv", "--only", "rose,tulip").out)
    assert header == [*COLUMNS, "rose", "tulip"]


def test_tsv_has_as_many_classes_as_are_asked_for(run):
    header, _ = rows(run("classify", SAMPLES / "rose.jpg", "--format", "tsv").out, "\t")
    assert header == COLUMNS
    header, (rose,) = rows(run("classify", SAMPLES / "rose.jpg", "--format", "tsv", "-k", 3).out, "\t")
    assert header == [*COLUMNS, "class_2", "probability_2", "class_3", "probability_3"]
    (answer,) = map(json.loads, run("classify", SAMPLES / "rose.jpg", "--json", "-k", 3).out.splitlines())
    second, third = list(answer["all_predictions"].items())[1:]
    assert (rose["class_2"], float(rose["probability_2"])) == second
    assert (rose["class_3"], float(rose["probability_3"])) == third
    plain = run("classify", SAMPLES / "rose.jpg", "-k", 3).out.rstrip("\n").split("\t")
    assert plain[1:] == ["rose", f"{answer['confidence']:.4f}", "", second[0], f"{second[1]:.4f}", *plain[6:]]
    assert len(plain) == 8


def test_a_table_lists_as_many_classes_as_are_asked_for():
    shown = in_terminal(["classify", SAMPLES / "rose.jpg", "-k", 4], columns=80).out
    assert [line.split()[-3] for line in shown.splitlines()[2:]] == ["sunflower", "cyclamen"]
    assert "100.0 %" not in shown


@pytest.mark.parametrize(
    ("name", "first"),
    [("a.csv", "path,"), ("a.json", '{"path"'), ("a.JSONL", '{"path"'), ("a.tsv", "path\t"), ("a", "path\t")],
)
def test_a_file_gets_the_format_of_its_ending(run, tmp_path, name, first):
    result = run("classify", SAMPLES / "rose.jpg", "--output", tmp_path / name)
    assert (result.code, result.out) == (0, "")
    assert (tmp_path / name).read_text().startswith(first)


def test_a_file_appears_with_its_first_answers(pictures, tmp_path):
    there = tmp_path / "answers.csv"
    line = [*command("classify"), "-", "-o", str(there), "--verbose"]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=default_interrupt  # noqa: PLW1509
    ) as process:  # fmt: skip
        assert b" on cpu" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate()[1] == b""
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == [pictures]


def test_places_that_cannot_be_written_are_told_first(run, tmp_path):
    for target, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "a.csv", "there is no folder"),
        (tmp_path / "a.xlsx", "no ending of a format"),
    ):
        result = run("classify", SAMPLES / "rose.jpg", "--output", target)
        assert (result.code, result.out) == (2, "")
        assert said in result.err
    assert run("classify", SAMPLES / "rose.jpg", "-o", tmp_path / "a.xlsx", "--format", "csv").code == 0


def test_two_formats_are_refused(run):
    result = run("classify", SAMPLES / "rose.jpg", "--json", "--format", "csv")
    assert result.code == 2
    assert "two formats" in result.err


def test_no_cell_is_a_formula(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "=1+1.jpg").write_bytes((SAMPLES / "rose.jpg").read_bytes())
    _, (row,) = rows(run("classify", "=1+1.jpg", "--format", "csv").out)
    assert row["path"] == "./=1+1.jpg"
    assert Path(row["path"]).is_file()


def test_moved_pictures_come_back(run, pictures):
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    result = run("classify", pictures, "--move-to", pictures / "sorted")
    assert result.code == 3  # One could not be read.
    assert len(result.out.splitlines()) == 7
    assert "Moved 6 pictures" in result.err
    expected = ["broken.jpg", "sorted/_refused/wall.jpg", *(f"sorted/{name}/{name}.jpg" for name in FLOWERS)]
    assert files_below(pictures) == sorted(expected)
    (listed,) = (pictures / "sorted").glob("undo-*.jsonl")
    assert f"flowers undo {listed}" in result.err
    back = run("undo", listed)
    assert (back.code, back.err) == (0, "6 taken back, 0 left.\n")
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before


def test_copies_are_made_once_and_nothing_is_overwritten(run, pictures, tmp_path):
    target = tmp_path / "sorted"
    (target / "rose").mkdir(parents=True)
    (target / "rose" / "rose.jpg").write_bytes(b"another")
    assert "Copied 6 pictures" in run("classify", pictures, "--copy-to", target).err
    assert (target / "rose" / "rose.jpg").read_bytes() == b"another"
    assert (target / "rose" / "rose-2.jpg").read_bytes() == (SAMPLES / "rose.jpg").read_bytes()
    assert len(files_below(pictures)) == 7
    there = files_below(target)
    again = run("classify", pictures, "--copy-to", target)
    assert "Copied" not in again.err
    assert files_below(target) == there
    (listed,) = target.glob("undo-*.jsonl")
    (target / "daisy" / "daisy.jpg").write_bytes(b"edited")
    back = run("undo", listed)
    assert back.code == 1
    assert "5 taken back, 1 left" in back.err
    assert files_below(target) == ["daisy/daisy.jpg", "rose/rose.jpg"]


def test_a_list_reaches_only_what_lies_beside_it(run, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    folder = tmp_path / "sorted"
    folder.mkdir()
    status = secret.stat()
    row = {"did": "moved", "from": str(tmp_path / "new"), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    listed = folder / "undo-1.jsonl"
    for target in (secret, "../secret", "rose/../../secret", ""):
        listed.write_text(json.dumps(row | {"to": str(target)}) + "\n")
        result = run("undo", listed)
        assert (result.code, secret.read_text()) == (1, "mine")
        assert "line 1" in result.err
    for text in ("nonsense\n", "[1]\n", '{"did": "eaten"}\n', "[" * 100_000 + "\n"):
        listed.write_text(text)
        assert "line 1" in run("undo", listed).err
    for text in ("", '{"precious": 1}'):
        listed.write_text(text)
        assert "is no list of pictures" in run("undo", listed).err
        assert listed.read_text() == text


def moved(listed, source, target):
    """Write a list by which a file was moved, whoever moved it."""
    status = target.lstat()
    row = {"did": "moved", "from": str(source), "to": target.relative_to(listed.parent).as_posix()}
    listed.write_text(json.dumps(row | {"size": status.st_size, "mtime_ns": status.st_mtime_ns}) + "\n")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("there/evil.desktop", "its name is not a picture's"),
        ("there/evil", "its name is not a picture's"),
        ("gone/rose.jpg", "the folder that it came from is gone: first mkdir -p "),
        ("there/.config/rose.jpg", "from a hidden place"),
        ("there/.rose.jpg", "from a hidden place"),
    ],
)
def test_a_list_puts_nothing_where_no_picture_came_from(run, tmp_path, name, said):
    source = tmp_path / name
    (tmp_path / "there" / ".config").mkdir(parents=True)
    target = tmp_path / "sorted" / "rose" / source.name
    target.parent.mkdir(parents=True)
    target.write_bytes((SAMPLES / "rose.jpg").read_bytes())
    listed = tmp_path / "sorted" / "undo-1.jsonl"
    moved(listed, source, target)
    before = sorted(tmp_path.rglob("*"))
    result = run("undo", listed)
    assert (result.code, sorted(tmp_path.rglob("*"))) == (1, before)
    assert f"{target} stays: " in result.err
    assert said in result.err
    if name.startswith("gone"):  # What is said helps.
        source.parent.mkdir()
        assert run("undo", listed).code == 0
        assert source.exists()


def test_what_is_hidden_on_the_way_to_both_hides_nothing(run, tmp_path):
    source, target = (tmp_path / ".mine" / name / "rose.jpg" for name in ("pictures", "sorted/rose"))
    source.parent.mkdir(parents=True)
    target.parent.mkdir(parents=True)
    target.write_bytes(b"rose")
    listed = tmp_path / ".mine" / "sorted" / "undo-1.jsonl"
    moved(listed, source, target)
    assert run("undo", listed).code == 0
    assert source.read_bytes() == b"rose"


def test_a_list_takes_nothing_from_beyond_a_link_or_by_another_name(run, tmp_path):
    (tmp_path / "outside").mkdir()
    folder = tmp_path / "sorted"
    (folder / "rose").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder / "loop")
    listed = folder / "undo-1.jsonl"
    places = [tmp_path / "outside" / "secret.jpg", folder / "secret.jpg", folder / "rose" / "secret.jpg"]
    for place in places:
        place.write_bytes(b"mine")
    for target in (folder / "link" / "secret.jpg", folder / "secret.jpg"):
        moved(listed, tmp_path / "secret.jpg", target)
        assert "line 1: it is no list of pictures" in run("undo", listed).err
    for name in ("another.jpg", "secret.png", "x/../secret.jpg", "secret-2.jpg", "\0/secret.jpg"):
        moved(listed, tmp_path / name, folder / "rose" / "secret.jpg")
        assert run("undo", listed).code == 1
    text = listed.read_text()
    for wrong in (text.replace("rose/", "loop/"), text.replace('"size": 4', '"size": 1e999')):
        listed.write_text(wrong)
        assert run("undo", listed).code == 1
    assert [place.read_bytes() for place in places] == [b"mine"] * 3
    assert list(tmp_path.glob("*.*")) == []


def test_nothing_is_sorted_to_where_undo_does_not_reach(run, pictures, tmp_path):
    (tmp_path / "sorted").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "sorted" / "rose").symlink_to(tmp_path / "disk")
    result = run("classify", pictures, "--move-to", tmp_path / "sorted")
    assert f"rose.jpg stays where it is: {tmp_path / 'sorted' / 'rose'} is a link" in result.err
    assert (pictures / "rose.jpg").exists()
    (listed,) = (tmp_path / "sorted").glob("undo-*.jsonl")
    assert "5 taken back, 0 left" in run("undo", listed).err


def test_folders_by_other_names_are_the_same_folder(run, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(pictures)
    assert "Moved 6 pictures" in run("classify", ".", "--move-to", "../sorted").err
    monkeypatch.chdir(tmp_path / "sorted")
    (tmp_path / "link").symlink_to(tmp_path / "sorted")
    again = run("classify", tmp_path / "link" / "rose", "--move-to", ".")
    assert "Moved" not in again.err
    (listed,) = (tmp_path / "link").glob("undo-*.jsonl")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sorted").rename(tmp_path / "elsewhere")
    assert "6 taken back, 0 left" in run("undo", tmp_path / "elsewhere" / listed.name).err
    assert len(files_below(pictures)) == 7
    assert "Copied 6 pictures" in run("classify", "pictures", "--copy-to", "pictures/../sorted").err


def test_undo_takes_nothing_but_what_was_put_there(run, pictures, tmp_path):
    run("classify", pictures, "--move-to", tmp_path / "sorted")
    (listed,) = (tmp_path / "sorted").glob("undo-*.jsonl")
    rose, daisy = (tmp_path / "sorted" / name / f"{name}.jpg" for name in ("rose", "daisy"))
    rose.rename(tmp_path / "sorted" / "daisy" / "rose.jpg")  # Somebody corrects it,
    rose.write_bytes(b"another")  # and another comes to its place.
    daisy.rename(tmp_path / "gone.jpg")
    result = run("undo", listed)
    assert result.code == 1
    assert "4 taken back, 2 left" in result.err
    assert "it is not there any more" in result.err
    assert "it is not the file that was put there" in result.err
    assert (listed.exists(), rose.read_bytes()) == (True, b"another")
    assert not (pictures / "rose.jpg").exists()


def test_runs_at_once_put_nothing_over_another(pictures, tmp_path):
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        shutil.copytree(pictures, folder)
        (folder / "rose.jpg").write_bytes((SAMPLES / "rose.jpg").read_bytes() + folder.name.encode())
    lines = [[*command("classify"), str(folder), "--move-to", str(tmp_path / "sorted")] for folder in folders]
    started = [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for line in lines]
    assert [process.wait(60) for process in started] == [3, 3, 3]
    assert len(files_below(tmp_path / "sorted")) == 18
    assert len({path.read_bytes() for path in (tmp_path / "sorted" / "rose").iterdir()}) == 3


def test_what_is_no_file_here_is_not_sorted(tmp_path):
    with (SAMPLES / "rose.jpg").open("rb") as picture:
        done = subprocess.run(
            [*command("classify"), "-", "--copy-to", str(tmp_path / "sorted")],
            check=False,
            stdin=picture,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0
    assert "- is no file here: it is not sorted" in done.stderr
    assert not (tmp_path / "sorted").exists()


def test_the_environment_names_the_model(run, monkeypatch):
    monkeypatch.setenv("FLOWERS_MODEL", "flowers5")
    (answer,) = map(json.loads, run("classify", SAMPLES / "rose.jpg", "--json", "-k", 0).out.splitlines())
    assert set(answer["all_predictions"]) == set(FLOWERS)
    assert "flowers5 (default)" in run("models").out
    done = subprocess.run(
        [*command("classify"), str(SAMPLES / "rose.jpg"), "-v"], capture_output=True, text=True, check=True
    )
    assert "flowers5 (" in done.stderr
    monkeypatch.setenv("FLOWERS_MODEL", "nope")
    assert "FLOWERS_MODEL says 'nope'" in run("classify", SAMPLES / "rose.jpg").err
    monkeypatch.setenv("FLOWERS_MODEL", " ")
    assert "garden (default)" in run("models").out
