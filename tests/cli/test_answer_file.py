"""`flowers classify --output` and `--resume`: whole parts, whatever ends a run, and each picture once in the end."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import FLOWERS, ROOT, SAMPLES, default_interrupt

from flowercli.cli.answer_file import OPTIONS
from flowercli.cli.interruption import typed_with

MODEL = ("--model", "flowers5")
# The program, with parts of four answers.
IN_SMALL_PARTS = "import flowercli.cli.answer_file as f; f.PART_ROWS = 4; from flowercli.cli.main import run; run()"
NAMES = [
    "answers.jsonl",
    "answers.csv",
    "answers.tsv",
    pytest.param(
        "answers.parquet",
        marks=pytest.mark.skipif(
            "not __import__('importlib.util').util.find_spec('pyarrow')", reason="needs the extra 'batch'"
        ),
    ),
]


@pytest.fixture(scope="module")
def photographs(made_once):
    """Return 81 pictures in five folders: one is broken, one is a link to nowhere, the name of one is no text."""

    def make(folder):
        for name in FLOWERS:
            (folder / "photos" / name).mkdir(parents=True)
            for number in range(16):
                os.link(SAMPLES / f"{name}.jpg", folder / "photos" / name / f"{number:02}.jpg")
        (folder / "photos" / "rose" / "03.jpg").unlink()
        (folder / "photos" / "rose" / "03.jpg").write_bytes(b"\xff\xd8\xff nothing")
        (folder / "photos" / "tulip" / "05.jpg").unlink()
        (folder / "photos" / "tulip" / "05.jpg").symlink_to("nowhere")
        shutil.copy(SAMPLES / "rose.jpg", os.fsencode(folder / "photos") + b"/b\xe9te.jpg")
        return folder / "photos"

    return made_once("linked-samples", make)


@pytest.fixture(scope="module")
def plainly(photographs):
    """Return what is printed of them, as rows."""
    line = [sys.executable, "-m", "flowercli", "classify", str(photographs), *MODEL, "--json"]
    printed = subprocess.run(line, capture_output=True, text=True, check=False).stdout
    return sorted(map(of_json, map(json.loads, printed.splitlines())))


def start(*arguments, **options):
    """Start the program on small parts."""
    line = [sys.executable, "-W", "error", "-c", IN_SMALL_PARTS, "classify", *map(str, arguments), *MODEL]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=default_interrupt, **options,  # noqa: PLW1509
    )  # fmt: skip


def of_json(row):
    """Return of an object what each format has: path, flower, confidence and code of error."""
    return (
        row["path"],
        row.get("predicted_class") or "",
        round(row.get("confidence", 0), 4),
        row.get("error", {}).get("code", ""),
    )


def rows(file):
    """Return what a file has, sorted: lines that end, or parts that are there. A name that is no text is as in JSON."""
    if file.suffix == ".jsonl":
        lines = file.read_bytes().splitlines(keepends=True)
        return sorted(of_json(json.loads(line)) for line in lines if line.endswith(b"\n"))
    if file.suffix in {".csv", ".tsv"}:
        text = file.read_bytes().decode()
        whole = io.StringIO(text[: text.rindex("\n") + 1], newline="")
        found = csv.DictReader(whole, delimiter="\t" if file.suffix == ".tsv" else ",")
        return sorted(
            (
                row["path"].replace(r"\udce9", "\udce9"),
                row["predicted_class"],
                round(float(row["confidence"] or 0), 4),
                row["error"],
            )
            for row in found
        )
    import pyarrow.parquet as pq

    from flowercli.batch.plan import as_path

    files = [file] if file.is_file() else list(file.with_name(f"{file.name}.parts").glob("*.parquet"))
    found = (row for one in files for row in pq.read_table(one).to_pylist())
    return sorted(
        (as_path(row["path"]), row["predicted_class"] or "", round(row["confidence"] or 0, 4), row["error"] or "")
        for row in found
    )


def nearly(found, expected):
    """Whether rows are the same; confidences may be rounded once more."""
    assert [(row[0], row[1], row[3]) for row in found] == [(row[0], row[1], row[3]) for row in expected]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected], abs=2e-4)


def begun(file):
    """Whether a part of a file is there."""
    return file.exists() or any(file.with_name(f"{file.name}.parts").glob("*.parquet"))


def interrupted(photographs, file, number=signal.SIGKILL, parts=1):
    """Run until some parts of a file are there, end it with a signal, and return the process and what it said."""
    with start("-", "-o", file, stdin=subprocess.PIPE) as process:
        paths = [path for path in sorted(photographs.rglob("*.jpg")) if os.fsencode(path).isascii()]
        process.stdin.write("".join(f"{path}\n" for path in paths[: 4 * parts + 2]))
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not (begun(file) and len(rows(file)) >= 4 * parts):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(0.3)  # For the two more.
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        return process.returncode, said


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_random_moments_each_picture_has_its_answer_once(tmp_path, photographs, plainly, name):
    file, option, kills, code = tmp_path / name, "--output", 0, -signal.SIGKILL
    moments = random.Random(name)
    while code == -signal.SIGKILL:
        before = len(rows(file)) if begun(file) else 0
        with start(photographs, option, file) as process:
            # Kills come from the first part on, more often than not; the last run may end.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0.4, 2) if kills < 4 else 120)
            process.kill()
            _, said = process.communicate()
        code = process.returncode
        kills += code == -signal.SIGKILL
        option = "--resume" if begun(file) else "--output"
        found = rows(file) if begun(file) else []
        assert len({row[0] for row in found}) == len(found) >= before, said
    assert code in {0, 3}, said
    nearly(rows(file), plainly)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert kills


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (NAMES[0], signal.SIGINT),
        (NAMES[1], signal.SIGTERM),
        pytest.param(*NAMES[3].values, signal.SIGINT, marks=NAMES[3].marks),
    ],
)
def test_asked_to_end_nothing_is_lost_and_the_next_command_is_told(tmp_path, photographs, run, name, number):
    file = tmp_path / name
    code, said = interrupted(photographs, file, number)
    assert code == 130
    assert f"Interrupted. {file} has 6 answers.\n" in said
    assert f"Go on with: flowers classify - --model flowers5 --resume {file}\n" in said
    assert len(rows(file)) == 6
    done = run("classify", photographs, *MODEL, "--resume", file)
    assert f"{file} has 6 answers." in done.err
    assert (done.code, len(rows(file))) == (3, 81)
    again = run("classify", photographs, *MODEL, "--resume", file)
    assert (again.code, "Nothing was missing." in again.err, len(rows(file))) == (0, True, 81)


@pytest.mark.parametrize("name", [NAMES[0], NAMES[3]])
def test_what_is_there_is_not_written_over(tmp_path, run, photographs, name):
    file = tmp_path / name
    interrupted(photographs, file)
    refused = run("classify", photographs, *MODEL, "-o", file)
    assert refused.code == 2
    assert "--resume" in refused.err
    assert len(rows(file)) == 4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_whole", [True, False])
def test_answers_of_another_kind_are_refused(tmp_path, run, photographs, name, is_whole):
    file = tmp_path / name
    if is_whole:
        assert run("classify", photographs / "tulip" / "00.jpg", *MODEL, "-o", file).code == 0
    else:
        interrupted(photographs, file)
    before = rows(file)
    others = [["--model", "garden"], ["--top-k", 2, *MODEL], ["--only", "rose,tulip", *MODEL]]
    if name.endswith(".csv"):  # Which lists all, whatever is asked for.
        others.pop(1)
    for other in others:
        if is_whole and name.endswith(".tsv") and "--top-k" not in other:
            continue  # A whole file of TSV has nothing of it.
        refused = run("classify", photographs, "--resume", file, *other)
        assert refused.code == 2, other
        assert "another" in refused.err
    assert rows(file) == before


def test_a_torn_end_is_mended_and_nothing_else(tmp_path, run, photographs):
    for name, tear in (("a.jsonl", 30), ("b.csv", 9)):
        file = tmp_path / name
        run("classify", photographs / "rose", *MODEL, "-o", file)
        whole = file.read_bytes()
        for end in (whole[:-tear], whole + b"\0" * 300, whole[:-tear] + b"\0\0\n\0"):
            file.write_bytes(end)
            assert run("classify", photographs / "rose", *MODEL, "--resume", file).code in {0, 3}
            assert file.read_bytes() == whole
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    broken = b"".join([lines[0], lines[1][:20] + b"\n", *lines[2:]])
    (tmp_path / "a.jsonl").write_bytes(broken)
    refused = run("classify", photographs / "rose", *MODEL, "--resume", tmp_path / "a.jsonl")
    assert (refused.code, "Line 2 of" in refused.err) == (2, True)
    assert (tmp_path / "a.jsonl").read_bytes() == broken


def test_files_of_something_else_stay(tmp_path, run):
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        if name == "a.parquet":
            pytest.importorskip("pyarrow")
        (tmp_path / name).write_text("My notes.\n")
        refused = run("classify", SAMPLES, "--resume", tmp_path / name)
        assert refused.code in {1, 2}
        assert (tmp_path / name).read_text() == "My notes.\n"


def test_what_was_printed_before_can_be_gone_on_with(tmp_path, run, photographs):
    printed = run("classify", photographs / "rose", *MODEL, "--json").out
    (tmp_path / "a.jsonl").write_text(printed)
    assert (
        run("classify", photographs / "rose", photographs / "daisy", *MODEL, "--resume", tmp_path / "a.jsonl").code == 0
    )
    assert (tmp_path / "a.jsonl").read_text().startswith(printed)
    assert len(rows(tmp_path / "a.jsonl")) == 32


def test_a_path_is_the_same_however_it_is_typed(tmp_path, run, photographs, monkeypatch):
    monkeypatch.chdir(photographs)
    run("classify", "rose", *MODEL, "-o", tmp_path / "a.jsonl")
    for other in ("./rose/", "daisy/../rose", photographs / "rose", "ros*/*.jpg"):
        assert "Nothing was missing" in run("classify", other, *MODEL, "--resume", tmp_path / "a.jsonl").err


def test_from_another_folder_paths_are_others(tmp_path, run, photographs, monkeypatch):
    interrupted(photographs, tmp_path / "a.jsonl")
    monkeypatch.chdir(photographs)
    refused = run("classify", "rose", *MODEL, "--resume", tmp_path / "a.jsonl")
    assert (refused.code, f"cd {ROOT}" in refused.err) == (2, True)
    # Deleted, as the hint of --output says, it leaves nothing that another file of its name would be held to.
    (tmp_path / "a.jsonl").unlink()
    assert run("classify", "rose/01.jpg", *MODEL, "-k", 1, "--output", tmp_path / "a.jsonl").code == 0
    assert "has 1 answer" in run("classify", "rose/01.jpg", *MODEL, "-k", 1, "--resume", tmp_path / "a.jsonl").err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_full_disk_leaves_whole_lines(tmp_path, photographs, plainly, run):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    file = tmp_path / "a.jsonl"
    line = [sys.executable, "-c", IN_SMALL_PARTS, "classify", str(photographs), *MODEL, "-o", str(file)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, preexec_fn=small_files)
    assert done.returncode == 1
    count = len(rows(file))
    assert f"Error: {file} cannot be written: File too large. {file} has {count} answers.\n" in done.stderr
    assert f"When it can, go on with: flowers classify {photographs} --model flowers5 --resume {file}" in done.stderr
    assert count % 4 == 0
    assert file.read_bytes().endswith(b"}\n")
    assert run("classify", photographs, *MODEL, "--resume", file).code == 3
    nearly(rows(file), plainly)


def test_whoever_looks_meanwhile_finds_whole_answers(tmp_path, photographs):
    file, ended, counts = tmp_path / "a.jsonl", threading.Event(), []

    def look():
        while not ended.is_set():
            if file.exists():
                counts.append(len(rows(file)))

    looking = threading.Thread(target=look)
    looking.start()
    process = start(photographs, "-o", file)
    process.communicate(timeout=120)
    ended.set()
    looking.join()
    assert counts == sorted(counts)
    assert len(set(counts)) > 2


def test_one_run_at_a_time(tmp_path, photographs, run):
    file = tmp_path / "a.jsonl"
    interrupted(photographs, file)
    with start("-", "--resume", file, stdin=subprocess.PIPE) as process:
        while "has 4 answers" not in process.stderr.readline():
            assert process.poll() is None
        refused = run("classify", photographs, *MODEL, "--resume", file)
        process.kill()
    assert (refused.code, "Another run writes" in refused.err) == (2, True)


def test_parts_that_were_joined_already_are_not_joined_twice(tmp_path, photographs, run):
    pytest.importorskip("pyarrow")
    file = tmp_path / "a.parquet"
    interrupted(photographs, file)
    shutil.copytree(tmp_path, tmp_path / "as-before")
    run("classify", photographs, *MODEL, "--resume", file)
    assert len(rows(file)) == 81
    for left in (tmp_path / "as-before").iterdir():  # As if it had been killed right after the file was there.
        shutil.move(left, tmp_path)
    again = run("classify", photographs, *MODEL, "--resume", file)
    assert "Nothing was missing." in again.err
    assert len(rows(file)) == 81
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "as-before"]


def test_answers_are_read_out_into_parquet(tmp_path, photographs, plainly, run):
    pytest.importorskip("pyarrow")
    run("classify", photographs, *MODEL, "--out", tmp_path / "place")
    assert run("answers", tmp_path / "place", "--output", tmp_path / "a.parquet").code == 0
    found = rows(tmp_path / "a.parquet")
    nearly(found, plainly)


def test_a_relative_name_that_is_no_text_becomes_an_address(tmp_path, run, photographs, monkeypatch):
    pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
    monkeypatch.chdir(photographs)
    name = os.fsdecode(b"b\xe9te.jpg")
    assert run("classify", name, *MODEL, "-o", tmp_path / "a.parquet").code == 0
    assert [row[0] for row in rows(tmp_path / "a.parquet")] == [os.path.join(photographs, name)]
    assert "Nothing was missing" in run("classify", name, *MODEL, "--resume", tmp_path / "a.parquet").err


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        ("d --output a.csv -v", "d -v --resume b"),
        ("d --output=a.csv -k 2", "d -k 2 --resume b"),
        ("-vo a.csv d", "-v d --resume b"),
        ("-oa.csv d", "d --resume b"),
        ("--output a.csv -- -orchid.jpg", "--resume b -- -orchid.jpg"),
    ],
)
def test_the_command_that_goes_on_is_the_one_that_was_typed(monkeypatch, typed, again):
    monkeypatch.setattr(sys, "argv", ["flowers", "classify", *typed.split()])
    assert typed_with(OPTIONS, "--resume", "b") == f"flowers classify {again}"


def test_what_was_moved_is_not_looked_for_again(tmp_path, run, monkeypatch):
    (tmp_path / "a.csv").write_text("something")
    arguments = ["classify", SAMPLES, "--move-to", tmp_path / "sorted", "--output", tmp_path / "a.csv"]
    monkeypatch.setattr(sys, "argv", ["flowers", *map(str, arguments)])
    refused = run(*arguments)
    assert refused.code == 2
    assert f"--move-to {tmp_path}/sorted --output {tmp_path}/a-2.csv" in refused.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "answers.jsonl"], "--output answers.jsonl"),
        (["--out", "answers.parquet"], "--output answers.parquet"),
        (["--output", "s3://bucket/answers.csv"], "--out s3://bucket"),
        (["--output", "docs"], "--out docs"),
        (["--resume", "docs"], "--out docs"),
        (["--resume", "a.jsonl", "--output", "b.jsonl"], "Give one of them"),
        (["--resume", "a.jsonl", "--out", "place"], "--resume does not go with --out"),
        (["--resume", "a.jsonl", "--move-to", "sorted"], "--move-to"),
        (["--resume", "a.txt", "--format", "table"], "A table cannot"),
        (["--resume", "/dev/stdout"], "/dev/stdout"),
        (["--format", "parquet"], "--output answers.parquet"),
        (["--resume"], "--resume"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_file_is_told_from_a_place(run, monkeypatch, options, words):
    if "--out" in options:
        pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
    monkeypatch.chdir(ROOT)
    refused = run("classify", SAMPLES, *options)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err
    assert not {"answers.jsonl", "answers.parquet", "a.jsonl", "a.txt"}.intersection(os.listdir(ROOT))
