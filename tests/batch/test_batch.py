"""Answers as files of a folder: the same as `classify` gives, all of them, once, whoever is killed or runs beside."""

from __future__ import annotations

import csv
import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from functools import partial

import pytest
from conftest import SAMPLES, command, default_interrupt, flowers
from support.waiting import wait_until_asleep

pa = pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
pq = pytest.importorskip("pyarrow.parquet")

MODEL = ("--model", "flowers5")


@pytest.fixture(scope="module")
def photographs(made_once, dataset):
    """Return 60 pictures in three folders, a broken, an empty and a missing one, and one whose name is no text."""

    def make(folder):
        for place in sorted(dataset.glob("*/*.jpg"))[::2]:
            target = folder / "photos" / place.parent.name / place.name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(place, target)
        (folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
        (folder / "photos" / "empty.jpg").write_bytes(b"")
        (folder / "photos" / "gone.jpg").symlink_to(folder / "nowhere")
        shutil.copy(place, os.fsencode(folder / "photos") + b"/b\xe9te.jpg")
        return folder / "photos"

    return made_once("photographs", make)


@pytest.fixture(scope="module")
def plainly(photographs):
    """Return what plain `classify` says of them, by path."""
    return by_path(flowers("classify", photographs, *MODEL, "--json").out)


def by_path(text):
    """Return objects of JSON Lines by path; an address of a file counts as its path."""
    from flowercli.batch.plan import as_path

    objects = [json.loads(line) for line in text.splitlines()]
    return {as_path(one["path"]): {**one, "path": as_path(one["path"])} for one in objects}


@pytest.fixture
def proof(run):
    """Return what `flowers answers` finds."""

    def call(place):
        done = run("answers", place, "--json")
        return json.loads(done.out) | {"code": done.code}

    return call


@pytest.fixture
def read_out(run):
    """Return the answers by path."""
    return lambda place: by_path(run("answers", place, "--format", "json").out)


@pytest.fixture
def into(run):
    """Answer what is missing, ten photographs a part."""

    def call(place, photographs, *options):
        return run("classify", photographs, *MODEL, "--out", place, "--part-size", 10, *options)

    return call


def start(place, *arguments, **options):
    line = command("classify", *arguments, *MODEL, "--out", place, "--part-size", 5)
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=default_interrupt, **options,  # noqa: PLW1509
    )  # fmt: skip


def await_files(folder, count, process):
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.parquet"))) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def test_every_photograph_has_the_answer_of_classify(tmp_path, photographs, plainly, into, proof, read_out, run):
    done = into(tmp_path / "answers", photographs)
    assert done.code == 3
    assert done.out == "64 photographs = 61 answered + 3 errors, in 7 parts\n"
    assert read_out(tmp_path / "answers") == plainly
    found = proof(tmp_path / "answers")
    assert found["errors"] == {"not_an_image": 1, "empty": 1, "not_found": 1}
    assert (found["complete"], found["planned"], found["answered"], found["missing"]) == (True, 64, 61, 0)
    said = run("answers", tmp_path / "answers")
    assert said.out.splitlines()[0] == "planned 64 = 61 answered + 3 errors"
    rows = list(csv.DictReader(io.StringIO(run("answers", tmp_path / "answers", "--format", "csv").out)))
    of_photographs = {row["path"]: row["predicted_class"] for row in rows}
    assert len(rows) == 64
    for path, answer in plainly.items():
        if path.isascii():
            assert of_photographs[path] == answer.get("predicted_class", "")


def test_any_reader_of_parquet_reads_them(tmp_path, photographs, into):
    import pyarrow.dataset

    into(tmp_path, photographs, "--top-k", 2)
    table = pyarrow.dataset.dataset(tmp_path).to_table()
    answered = table.filter(pa.compute.is_null(table["error"]))
    assert (len(table), len(answered)) == (64, 61)
    assert {len(predictions) for predictions in answered["all_predictions"].to_pylist()} == {2}


def test_only_what_is_missing_is_answered(tmp_path, photographs, into, proof, run):
    into(tmp_path, photographs)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    content = (tmp_path / "00002.parquet").read_bytes()
    (tmp_path / "00002.parquet").unlink()
    (tmp_path / "00004.parquet").write_bytes(b"")
    found = proof(tmp_path)
    assert (found["code"], found["missing"]) == (1, 20)
    assert found["missing_parts"] == ["00002.parquet", "00004.parquet"]
    assert f"by: flowers classify {photographs} --out {tmp_path} --model flowers5\n" in run("answers", tmp_path).err
    assert into(tmp_path, photographs).out == "20 photographs = 20 answered + 0 errors, in 2 parts\n"
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert {name for name in after if after[name] != before[name]} == {"00002.parquet", "00004.parquet"}
    assert (tmp_path / "00002.parquet").read_bytes() == content
    assert into(tmp_path, photographs).out == "Nothing was missing.\n"
    shutil.copy(tmp_path / "00001.parquet", tmp_path / "00003.parquet")
    assert proof(tmp_path)["other_parts"] == ["00003.parquet"]


def test_answers_of_another_kind_are_refused(tmp_path, run, photographs):
    few = photographs / "blue"
    assert run("classify", few, *MODEL, "--out", tmp_path).code == 0
    for other, words in ((["--model", "garden"], "model: flowers5, not garden"), (["--top-k", 2], "--top-k: 5, not 2"),
                         (["--only", "rose"], "--only")):  # fmt: skip
        refused = run("classify", few, *MODEL, "--out", tmp_path, *other)
        assert refused.code == 2
        assert words in refused.err
    elsewhere = run("classify", photographs, *MODEL, "--out", tmp_path)
    assert elsewhere.code == 2
    assert "--add" in elsewhere.err


def test_what_comes_later_is_appended(tmp_path, run, photographs, proof):
    shutil.copytree(photographs / "blue", tmp_path / "photos")
    arguments = ("classify", tmp_path / "photos", *MODEL, "--out", tmp_path / "answers", "--part-size", 8)
    run(*arguments)
    for number in range(3):
        shutil.copy(photographs / "reds" / "000.jpg", tmp_path / "photos" / f"a{number}.jpg")
    assert run(*arguments).out == "Nothing was missing.\n"
    assert run(*arguments, "--add").out == "3 photographs = 3 answered + 0 errors, in 1 part\n"
    assert run(*arguments, "--add").out == "Nothing was missing.\n"
    found = proof(tmp_path / "answers")
    assert (found["complete"], found["planned"], found["double"]) == (True, 23, 0)
    run("classify", photographs / "blue", photographs / "blue", *MODEL, "--out", tmp_path / "twice")
    assert (proof(tmp_path / "twice")["code"], proof(tmp_path / "twice")["double"]) == (1, 20)


def test_a_mistyped_place_is_no_plan(tmp_path, run):
    assert run("classify", tmp_path / "photoz", "--out", tmp_path / "answers").code == 2
    (tmp_path / "photos").mkdir()
    nothing = run("classify", tmp_path / "photos", "--out", tmp_path / "answers")
    assert (nothing.code, "No pictures found" in nothing.err) == (3, True)
    assert run("answers", tmp_path / "nowhere").code == 1
    for options in (["--shard", "4/3"], ["--format", "csv"], ["--copy-to", tmp_path]):
        assert run("classify", tmp_path / "photos", "--out", tmp_path / "answers", *options).code == 2
    assert run("classify", tmp_path / "photos", "--shard", "1/3").code == 2


def test_shards_share_the_parts_and_wait_for_the_plan(tmp_path, photographs, plainly, proof, read_out):
    third = start(tmp_path, photographs, "--shard", "3/3")
    assert any("Waiting for the plan" in line for line in third.stderr)
    others = [start(tmp_path, photographs, "--shard", f"{number}/3") for number in (1, 2)]
    said = [process.communicate(timeout=120) for process in (third, *others)]
    assert [out.rpartition(" in ")[2] for out, _ in said] == ["4 parts\n", "5 parts\n", "4 parts\n"]
    assert proof(tmp_path)["complete"]
    assert read_out(tmp_path) == plainly


def test_two_runs_at_once_write_the_same(tmp_path, photographs, plainly, proof, read_out):
    runs = [start(tmp_path, photographs) for _ in range(2)]
    for process in runs:
        assert process.wait(120) == 3, process.communicate()
        process.communicate()
    assert proof(tmp_path)["complete"]
    assert read_out(tmp_path) == plainly


def test_a_plan_that_was_killed_half_written_is_gone_on_with(tmp_path, photographs, proof):
    names = [f"{path}\n" for path in sorted((photographs / "blue").iterdir())]
    process = start(tmp_path, "-", stdin=subprocess.PIPE)
    process.stdin.write("".join(names[:12]))
    process.stdin.flush()
    await_files(tmp_path / "_plan", 2, process)
    assert not json.loads((tmp_path / "_plan" / "run.json").read_text())["listed"]
    process.kill()
    process.communicate()
    assert (proof(tmp_path)["code"], proof(tmp_path)["listed"]) == (1, False)
    again = start(tmp_path, "-", stdin=subprocess.PIPE)
    _, err = again.communicate("".join(names), timeout=120)
    assert again.returncode == 0, err
    found = proof(tmp_path)
    assert (found["complete"], found["planned"]) == (True, len(names))


def test_killed_runs_leave_whole_parts_and_go_on(tmp_path, photographs, plainly, into, proof, read_out):
    for parts in (1, 4, 9):
        process = start(tmp_path, photographs)
        await_files(tmp_path, parts, process)
        process.kill()
        process.communicate()
        assert all(len(pq.read_table(path)) for path in tmp_path.glob("*.parquet"))
    assert into(tmp_path, photographs).code in {0, 3}
    assert proof(tmp_path)["complete"]
    assert read_out(tmp_path) == plainly
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_end_says_how_to_go_on(tmp_path, photographs, number):
    process = start(tmp_path, "-", stdin=subprocess.PIPE)
    process.stdin.write("".join(f"{path}\n" for path in sorted((photographs / "blue").iterdir())[:7]))
    process.stdin.flush()
    await_files(tmp_path, 1, process)
    wait_until_asleep(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted after 5 photographs; " in err
    assert f"Go on with: flowers classify - --model flowers5 --out {tmp_path} --part-size 5" in err
    assert not list(tmp_path.rglob(".partial-*"))
    assert not json.loads((tmp_path / "_plan" / "run.json").read_text())["listed"]


@pytest.mark.network
def test_what_could_not_be_fetched_is_asked_again(tmp_path, run, photographs, proof):
    class Samples(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Samples, directory=SAMPLES)) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        pictures = [photographs / "blue" / "000.jpg", f"{base}/rose.jpg", f"{base}/tulip.jpg"]
        arguments = ("classify", *pictures, *MODEL, "--out", tmp_path, "--part-size", 2)
        server.server_close()
        assert run(*arguments).code == 3
        assert proof(tmp_path)["errors"] == {"download_failed": 2}
        with http.server.ThreadingHTTPServer(server.server_address, partial(Samples, directory=SAMPLES)) as again:
            threading.Thread(target=again.serve_forever, daemon=True).start()
            assert run(*arguments).out == "Nothing was missing.\n"
            assert run(*arguments, "--retry").out == "3 photographs = 3 answered + 0 errors, in 2 parts\n"
            again.shutdown()
    assert (proof(tmp_path)["complete"], proof(tmp_path)["errors"]) == (True, {})
