"""``flowers tag``: pictures stay as they are, sidecars get the flower, and all of it can be taken back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest
from conftest import FLOWERS, SAMPLES, command, default_interrupt, in_terminal
from PIL import Image
from support.sidecars import DIGIKAM, LIGHTROOM, PROGRAMS, contents
from support.waiting import wait_until

from flowercli.tagging.elements import LISTS, SUBJECT, TAGS
from flowercli.tagging.writing import MOST_BYTES
from flowercli.tagging.xmp import Sidecar


@pytest.fixture
def library(tmp_path):
    """Return a folder of five flowers, a wall, and what is no picture."""
    folder = tmp_path / "holiday"
    (folder / "more").mkdir(parents=True)
    for name in FLOWERS:
        shutil.copy(SAMPLES / f"{name}.jpg", folder / ("more" if name == "tulip" else "") / f"{name}.jpg")
    Image.effect_noise((160, 160), 60).convert("RGB").save(folder / "wall.jpg")
    return folder


def read(path):
    """Return a sidecar."""
    return Sidecar(path.read_bytes())


def tags_of(library, name):
    """Return the keywords of a sidecar for all programs."""
    return read(library / name).keywords[SUBJECT]


def receipt_of(library):
    """Return the one receipt in a folder."""
    (receipt,) = library.glob("undo-*.jsonl")
    return receipt


def start(*arguments):
    """Start the program as a terminal does, which can interrupt it."""
    return subprocess.Popen(
        command("tag", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=default_interrupt,  # noqa: PLW1509
    )  # fmt: skip


def test_tagged_twice_and_taken_back(run, library):
    (library / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    before = contents(library)
    first = run("tag", library)
    assert first.code == 3
    assert {name for name in first.out.split() if name in FLOWERS} == set(FLOWERS)
    assert "Warning: 1 of 7 could not be read." in first.err
    assert "7 pictures: 5 new sidecars written." in first.err
    assert "1 picture not surely of a flower that it knows" in first.err
    receipt = receipt_of(library)
    assert f"To take that back: flowers undo {receipt}" in first.err
    tagged = contents(library)
    assert before.items() <= tagged.items()
    assert {name for name in tagged.keys() - before.keys() if name != receipt.name} == {
        *(f"{name}.jpg.xmp" for name in FLOWERS if name != "tulip"), "more/tulip.jpg.xmp",
    }  # fmt: skip
    assert read(library / "more" / "tulip.jpg.xmp").keywords == {SUBJECT: ["tulip"], TAGS: ["tulip"]}
    times = {path: path.stat().st_mtime_ns for path in library.rglob("*")}
    again = run("tag", library)
    assert "no sidecar written, 5 had it already." in again.err
    assert "take that back" not in again.err
    assert {path: path.stat().st_mtime_ns for path in library.rglob("*") if path.is_file()}.items() <= times.items()
    back = run("tag", "--undo", receipt)
    assert (back.code, back.err) == (0, "5 taken back, 0 left.\n")
    assert contents(library) == before


def test_a_dry_run_shows_all_and_writes_nothing(run, library):
    (library / "rose.jpg.xmp").write_text(DIGIKAM)
    (library / "daisy.CR3").touch()
    before = {path: path.stat().st_mtime_ns for path in (library, *library.rglob("*"))}
    result = run("tag", library, "--dry-run")
    assert result.code == 0
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert {(did, keyword, path.removeprefix(f"{library}/")) for did, keyword, _, path in rows} == {
        ("new", "daisy", "daisy.jpg.xmp"),
        ("new", "daisy", "daisy.CR3.xmp"),
        ("new", "dandelion", "dandelion.jpg.xmp"),
        ("changed", "rose", "rose.jpg.xmp"),
        ("new", "sunflower", "sunflower.jpg.xmp"),
        ("new", "tulip", "more/tulip.jpg.xmp"),
    }
    assert "5 new sidecars, 1 changed sidecar would be written." in result.err
    assert {path: path.stat().st_mtime_ns for path in (library, *library.rglob("*"))} == before


@pytest.mark.parametrize("program", PROGRAMS)
def test_sidecars_of_programs_get_the_keyword_and_their_bytes_back(run, library, program):
    sidecar = library / "rose.xmp"
    sidecar.write_text(PROGRAMS[program], encoding="utf-8", newline="")
    sidecar.chmod(0o640)
    before = contents(library)
    run("tag", library)
    assert not (library / "rose.jpg.xmp").exists()
    assert all(keywords[-1] == "rose" for keywords in read(sidecar).keywords.values())
    assert sidecar.stat().st_mode & 0o777 == 0o640
    assert run("undo", receipt_of(library)).code == 0
    assert contents(library) == before


def test_a_newer_model_takes_the_place_of_an_older_one(run, library):
    (library / "rose.jpg.xmp").write_text(DIGIKAM, encoding="utf-8")
    assert run("tag", library, "--model", "flowers5", "--only", "tulip,daisy").code == 0
    old = read(library / "rose.jpg.xmp").fields
    run("tag", library, "--model", "flowers5")
    new = read(library / "rose.jpg.xmp")
    assert new.keywords[SUBJECT] == ["Garden", "rose"]
    run("tag", library)
    newest = read(library / "rose.jpg.xmp")
    assert newest.keywords == new.keywords
    assert newest.fields["Model"] == "garden" != new.fields["Model"]
    assert newest.fields["ModelIdentity"] != new.fields["ModelIdentity"]
    assert old.get("Keyword") in (None, "tulip", "daisy")


def test_json_says_what_was_done(run, library):
    (library / "IMG_1.CR3").touch()
    (library / "notes.jpg").write_text("none")
    result = run("tag", library, "--json")
    found = json.loads(result.out)
    assert (result.code, found["version"], found["dry_run"]) == (3, 1, False)
    assert found["receipt"] == str(receipt_of(library))
    counts = {name: found[name] for name in ("pictures", "rejected", "errors", "raw_files_without_picture", "sidecars")}
    assert counts == {
        "pictures": 7,
        "rejected": 1,
        "errors": {"not_an_image": 1},
        "raw_files_without_picture": 1,
        "sidecars": {"new": 5, "changed": 0, "same": 0, "left": 0},
    }
    (rose,) = (tag for tag in found["tags"] if tag["keyword"] == "rose")
    assert rose["picture"] == str(library / "rose.jpg")
    assert rose["sidecar"] == str(library / "rose.jpg.xmp")
    assert rose["confidence"] == pytest.approx(float(read(library / "rose.jpg.xmp").fields["Confidence"]), abs=1e-4)
    dry = json.loads(run("tag", library, "--json", "--dry-run").out)
    assert (dry["dry_run"], dry["receipt"], dry["sidecars"]["same"]) == (True, None, 5)


def test_what_could_lose_something_is_left_alone_and_told(run, library, tmp_path):
    elsewhere = tmp_path / "elsewhere.xmp"
    elsewhere.write_text(DIGIKAM)
    (library / "rose.jpg.xmp").symlink_to(elsewhere)
    (library / "daisy.jpg.xmp").mkdir()
    (library / "dandelion.jpg.xmp").write_text("<!DOCTYPE x [<!ENTITY a 'b'>]>" + DIGIKAM.partition("?>")[2])
    (library / "sunflower.jpg.xmp").write_bytes(b"")
    before = contents(tmp_path)
    result = run("tag", library)
    assert result.code == 1
    for name, why in {
        "rose": "it is a link",
        "daisy": "it is not a plain file",
        "dandelion": "it has a document type, which no XMP has",
        "sunflower": "it is not well-formed XML: no element found: line 1, column 0",
    }.items():
        assert f"Warning: {library}/{name}.jpg.xmp is left as it is: {why}." in result.err
    assert "1 new sidecar written, 4 left as they are." in result.err
    assert before.items() <= contents(tmp_path).items()
    assert tags_of(library, "more/tulip.jpg.xmp") == ["tulip"]


def test_another_name_of_a_sidecar_keeps_what_it_was(run, library, tmp_path):
    (library / "rose.jpg.xmp").write_text(DIGIKAM)
    (tmp_path / "backup.xmp").hardlink_to(library / "rose.jpg.xmp")
    run("tag", library)
    assert (tmp_path / "backup.xmp").read_text() == DIGIKAM
    assert tags_of(library, "rose.jpg.xmp") == ["Garden", "rose"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_what_may_not_be_written_to_is_told(run, library):
    (library / "rose.jpg.xmp").write_text(DIGIKAM)
    (library / "rose.jpg.xmp").chmod(0o444)
    (library / "more").chmod(0o555)
    result = run("tag", library)
    (library / "more").chmod(0o755)
    assert result.code == 1
    assert "rose.jpg.xmp is left as it is: it may not be written to." in result.err
    assert "tulip.jpg.xmp is left as it is: Permission denied." in result.err
    library.chmod(0o555)
    refused = run("tag", library)
    library.chmod(0o755)
    assert (refused.code, "--dry-run" in refused.err) == (2, True)


def test_lightroom_reads_the_sidecar_of_its_name(run, library):
    (library / "rose.CR3").touch()
    (library / "rose.xmp").write_text(LIGHTROOM)
    run("tag", library, "--sidecar-name", "lightroom")
    assert tags_of(library, "rose.xmp") == ["Holiday", "2026", "rose"]
    assert sorted(path.name for path in library.glob("*.xmp")) == sorted(
        f"{name}.xmp" for name in FLOWERS if name != "tulip"
    )


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_what_was_done_and_both_commands(run, library, signal_):
    for number in range(400):
        (library / "more" / f"{number}.jpg").hardlink_to(library / "rose.jpg")
    before = contents(library)
    process = start(library)
    wait_until(lambda: list(library.glob("undo-*.jsonl")))
    process.send_signal(signal_)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    receipt = receipt_of(library)
    assert "Error: Interrupted: " in err
    assert f"Go on with: flowers tag {library}\nTo take that back: flowers undo {receipt}\n" in err
    written = list(library.rglob("*.xmp"))
    assert f"{len(written)} new sidecar" in err
    assert 0 < len(written) < 405
    assert run("undo", receipt).code == 0
    assert contents(library) == before
    assert not list(library.rglob(".*"))


def test_watched_pictures_are_tagged_as_they_come(run, library):
    before = contents(library)
    process = start(library, "--watch")
    wait_until(lambda: len(list(library.rglob("*.xmp"))) == 5)
    shutil.copy(SAMPLES / "daisy.jpg", library / "late.jpg")
    wait_until((library / "late.jpg.xmp").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [line.split("\t")[1] for line in out.splitlines()][-1] == "daisy"
    assert len(out.splitlines()) == 6
    assert "7 pictures: 6 new sidecars written." in err
    assert run("undo", receipt_of(library)).code == 0
    (library / "late.jpg").unlink()
    assert contents(library) == before


def test_a_sidecar_that_would_grow_too_large_is_left(run, library):
    end = "</x:xmpmeta>"
    start, _, rest = DIGIKAM.partition(end)
    spaces = MOST_BYTES - len(DIGIKAM.encode()) - 50
    (library / "rose.jpg.xmp").write_bytes(f"{start}{' ' * spaces}{end}{rest}".encode())
    before = contents(library)
    for option in ((), ("--dry-run",)):
        result = run("tag", library, *option)
        assert result.code == 1
        assert "rose.jpg.xmp is left as it is: with the keyword it would have more than 16 MiB." in result.err
    assert run("undo", receipt_of(library)).code == 0
    assert contents(library) == before


def test_it_takes_back_its_own_receipts_alone(run, library, tmp_path):
    sorted_ = tmp_path / "sorted"
    assert run("classify", library, "--move-to", sorted_).code == 0
    before = contents(sorted_)
    (listed,) = sorted_.glob("undo-*.jsonl")
    result = run("tag", "--undo", listed)
    assert result.code == 1
    assert "line 1: it is no list of sidecars that were written" in result.err
    assert contents(sorted_) == before
    assert run("undo", listed).code == 0


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_text(run, library):
    name = os.fsdecode(b"not \xff text.jpg")
    (library / "rose.jpg").rename(library / name)
    before = contents(library)
    assert "\\udcff text.jpg.xmp" in run("tag", library, "--dry-run").out
    assert run("tag", library).code == 0
    assert tags_of(library, f"{name}.xmp") == ["rose"]
    assert run("undo", receipt_of(library)).code == 0
    assert contents(library) == before


def test_lines_fit_a_terminal_of_80_columns(library):
    deep = library / "a folder with a name that is quite long" / "and another one in it"
    deep.mkdir(parents=True)
    shutil.copy(SAMPLES / "rose.jpg", deep)
    shown = in_terminal(["tag", library, "--dry-run"], columns=80).out.splitlines()
    assert len(shown) == 6
    assert all(len(line) <= 80 for line in shown)
    assert all(line.startswith("new ") and line.endswith(".jpg.xmp") for line in shown)
    table = in_terminal(["tag", library], columns=80).out
    assert all(name in table for name in FLOWERS)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Which folder?"),
        (("FOLDER", "--undo", "FOLDER/rose.jpg"), 2, "--undo goes with nothing else"),
        (("--undo", "FOLDER/rose.jpg", "--dry-run"), 2, "--undo goes with nothing else"),
        (("--undo", "FOLDER/rose.jpg"), 1, "is no list of"),
        (("--undo", "FOLDER/none"), 2, "does not exist"),
        (("FOLDER/none",), 2, "does not exist"),
        (("FOLDER/rose.jpg",), 2, "is a file"),
        (("FOLDER/empty",), 3, "No pictures found."),
        (("FOLDER", "--only", "tulp"), 2, "tulip"),
        (("FOLDER", "--sidecar-name", "x"), 2, "lightroom"),
    ],
)
def test_mistakes_are_told_and_write_nothing(run, library, arguments, code, said):
    (library / "empty").mkdir()
    before = contents(library)
    result = run("tag", *(argument.replace("FOLDER", str(library)) for argument in arguments))
    assert result.code == code
    assert said in " ".join(result.err.replace("│", " ").split())
    assert contents(library) == before


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
def test_heic_and_raw_names_go_the_round_with_exiftool(run, library):
    pytest.importorskip("pillow_heif", reason="needs the extra 'heif'").register_heif_opener()
    Image.open(library / "rose.jpg").resize((256, 256)).save(library / "IMG_0001.HEIC", quality=90)
    (library / "IMG_0001.CR3").write_bytes(b"raw")
    before = contents(library)
    run("tag", library)
    sidecars = [library / f"{name}.xmp" for name in ("rose.jpg", "IMG_0001.HEIC", "IMG_0001.CR3")]
    line = ["exiftool", "-q", "-s3", "-XMP-dc:Subject", "-XMP-digiKam:TagsList", "-XMP-flowers:Model", *sidecars]
    found = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
    assert found == ["rose", "rose", "garden"] * 3
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-XMP-dc:Subject+=mine", *sidecars], check=True)
    again = run("tag", library)
    assert "no sidecar written" in again.err
    assert tags_of(library, "IMG_0001.HEIC.xmp") == ["rose", "mine"]
    back = run("undo", receipt_of(library))
    assert back.code == 1
    assert "IMG_0001.HEIC.xmp stays: it was changed since." in back.err
    assert before.items() <= contents(library).items()
    assert set(read(library / "rose.jpg.xmp").keywords) <= set(LISTS)
