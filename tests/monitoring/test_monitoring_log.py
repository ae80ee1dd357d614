"""The log of answers: what it holds and never holds, several writers, a kill, a full disk, and nothing in the way."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import ROOT, SAMPLES, command, flowers, write_picture

from flowercli.errors import LogError
from flowercli.inference.classifier import Classifier
from flowercli.models import load_model
from flowercli.monitoring import request_log
from flowercli.monitoring.features import Observation, identity
from flowercli.monitoring.log_file import models_in, open_to_write, read
from flowercli.monitoring.reference import observe
from flowercli.monitoring.request_log import RequestLog

PICTURES = 5


@pytest.fixture(scope="module")
def classifier():
    return Classifier.open(load_model(None), "cpu")


def rows(path):
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT * FROM answers ORDER BY id").fetchall()
    connection.close()
    return found


def classes(classifier):
    return np.eye(1, len(classifier.answerable), 2, np.float32)[0]


def observed(classifier, number=0):
    answer = classifier.prediction(classes(classifier), 0.8)
    return Observation(answer, 100 + number, 80, 120.5)


def test_log_holds_the_features_of_each_answer(run, tmp_path, classifier):
    log = tmp_path / "log.db"
    done = run("classify", SAMPLES, "--log", log, "--json")
    assert done.code == 0
    assert done.err == ""
    logged = read(log, identity(classifier.bundle))
    assert len(logged.times) == PICTURES
    assert np.ptp([*logged.times, time.time()]) < 60
    assert logged.graphs == ("model.int8.onnx",)
    pictures = sorted(SAMPLES.glob("*.jpg"))
    asked = observe(classifier, [classifier.load(path) for path in pictures])
    # Several threads answer: the order in the log is that of the answers.
    asked.sort(key=lambda one: one.answer.class_index)
    sample = logged.sample.take(np.argsort(logged.sample.class_index))
    assert sample.class_index.tolist() == [one.answer.class_index for one in asked]
    assert sample.confidence.tolist() == [one.answer.confidence for one in asked]
    assert sample.width.tolist() == [one.width for one in asked]
    np.testing.assert_allclose(sample.brightness, [one.brightness for one in asked], atol=1e-3)
    assert sample.known.tolist() == [one.answer.known for one in asked]
    with sqlite3.connect(log) as connection:
        requests = {row[0] for row in connection.execute("SELECT request FROM answers")}
    connection.close()
    assert len(requests) == 1


def test_answers_are_the_same_with_a_log(run, tmp_path):
    plain = run("classify", SAMPLES, "--json").out
    assert run("classify", SAMPLES, "--json", "--log", tmp_path / "log.db").out == plain


def test_pictures_that_cannot_be_read_are_not_logged(run, tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")
    done = run("classify", tmp_path / "notes.jpg", SAMPLES / "rose.jpg", "--log", tmp_path / "log.db")
    assert done.code == 3
    assert len(rows(tmp_path / "log.db")) == 1


def test_log_holds_neither_picture_nor_name(run, tmp_path):
    picture = tmp_path / "secret-garden-of-alice.jpg"
    write_picture(picture, (200, 40, 60), 1)
    content = picture.read_bytes()
    log = tmp_path / "log.db"
    assert run("classify", picture, "--log", log).code == 0
    written = b"".join(path.read_bytes() for path in tmp_path.glob("log.db*"))
    assert len(rows(log)) == 1
    for text in (b"secret", b"alice", str(tmp_path).encode()):
        assert text not in written
    assert not any(content[start : start + 12] in written for start in range(0, len(content) - 12, 4))
    # Nothing that a picture could be made from: a few numbers and the id of the request.
    assert [type(value) for value in rows(log)[0]] == [int, float, str, int, int, float, float, int, int, int, float]


def test_oldest_answers_are_dropped(tmp_path, classifier, monkeypatch):
    monkeypatch.setattr(request_log, "BATCH", 10)
    said = []
    with RequestLog(tmp_path / "log.db", classifier.bundle, "g", max_rows=25, say=said.append) as log:
        for number in range(60):
            log.observe(observed(classifier, number))
    assert not said
    assert [row[8] for row in rows(tmp_path / "log.db")] == list(range(135, 160))


def test_several_processes_write_one_log(tmp_path):
    log = tmp_path / "log.db"
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: flowers("classify", SAMPLES, SAMPLES, "--log", log), range(4)))
    assert [one.code for one in done] == [0] * 4
    assert [one.err for one in done] == [""] * 4
    assert len(rows(log)) == 4 * 2 * PICTURES
    assert len(models_in(log)) == 1


def test_log_is_readable_while_it_is_written_and_after_a_kill(tmp_path, classifier):
    log = tmp_path / "log.db"
    arguments = command("classify", "-", "--log", log, "--json")
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for _ in range(3):
            process.stdin.write(f"{SAMPLES / 'rose.jpg'}\n")
            process.stdin.flush()
            process.stdout.readline()
        wait_for(lambda: log.exists() and len(read(log, identity(classifier.bundle)).times) == 3)
        process.send_signal(signal.SIGKILL)
    assert len(read(log, identity(classifier.bundle)).times) == 3
    assert flowers("classify", SAMPLES / "rose.jpg", "--log", log).code == 0
    assert len(rows(log)) == 4


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except LogError:
            assert time.monotonic() < until
        assert time.monotonic() < until
        time.sleep(0.1)


def test_full_disk_is_told_and_answers_go_on(run, tmp_path):
    log, rose = tmp_path / "log.db", str(SAMPLES / "rose.jpg")
    assert run("classify", rose, "--log", log).code == 0

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, log.stat().st_size))

    # Each transaction writes the pages that it changes once more: this many do not fit.
    paths = "\n".join([rose] * 300)
    arguments = command("classify", "-", "--log", log, "--json")
    done = subprocess.run(
        arguments, input=paths, capture_output=True, text=True, check=False, cwd=ROOT, preexec_fn=small_disk
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 300
    assert f"The log {log} cannot be written: " in done.stderr
    assert "of 300 answers are not in the log" in done.stderr
    assert "Traceback" not in done.stderr
    assert run("classify", rose, "--log", log).err == ""
    missing = int(re.search(r"(\d+) of 300 answers", done.stderr)[1])
    assert len(rows(log)) == 2 + 300 - missing


def test_place_that_may_not_be_written_to_is_told_and_answers_go_on():
    # /proc is read-only to everybody, also to root, who may run the tests.
    done = flowers("classify", SAMPLES / "rose.jpg", "--log", "/proc/log.db")
    assert done.code == 0
    assert "rose" in done.out
    assert "The log /proc/log.db cannot be written: unable to open database file. Answers go on without it." in done.err
    assert "1 of 1 answers are not in the log" in done.err


@pytest.mark.parametrize("content", ["a list of roses\n" * 100, None])
def test_other_files_are_refused_and_left_alone(run, tmp_path, content):
    log = tmp_path / "other.db"
    if content is None:
        with sqlite3.connect(log) as connection:
            connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.close()
    else:
        log.write_text(content)
    before = log.read_bytes()
    done = run("classify", SAMPLES / "rose.jpg", "--log", log)
    assert done.code == 1
    assert "Choose another file." in done.err
    assert log.read_bytes() == before
    assert run("drift", log).code == 1


@pytest.mark.parametrize(("version", "hint"), [(1, "classify PICTURES --log {}/log-new.db"), (9, "pip install")])
def test_logs_of_other_formats_are_refused(run, tmp_path, version, hint):
    log = tmp_path / "log.db"
    run("classify", SAMPLES / "rose.jpg", "--log", log)
    with sqlite3.connect(log) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    for arguments in (("classify", SAMPLES / "rose.jpg", "--log", log), ("drift", log)):
        done = run(*arguments)
        assert done.code == 1
        assert f"log format {version}; this version knows format 2" in done.err
        assert hint.format(tmp_path) in done.err


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE answers SET known = 9e999 WHERE id = 2",
        "UPDATE answers SET known = -9e999 WHERE id = 2",
        "UPDATE answers SET known = 'much' WHERE id = 2",
        "UPDATE answers SET confidence = 41 WHERE id = 2",
        "UPDATE answers SET class_index = 9000000000000000000 WHERE id = 2",
        "UPDATE answers SET class_index = -1 WHERE id = 2",
        "UPDATE answers SET class_index = 106 WHERE id = 2",
        "UPDATE answers SET class_index = 0.5 WHERE id = 2",
        "UPDATE answers SET time = 1e300 WHERE id = 2",
        "UPDATE answers SET brightness = -1e300 WHERE id = 2",
        "UPDATE answers SET brightness = 1e308 WHERE id = 2",
        "UPDATE answers SET width = 4611686018427387904 WHERE id = 2",
        "UPDATE answers SET width = 1e308 WHERE id = 2",
        "UPDATE answers SET height = x'00' WHERE id = 2",
        "UPDATE answers SET rejected = 2 WHERE id = 2",
        "UPDATE answers SET request = x'ff' WHERE id = 2",
        "UPDATE answers SET request = hex(zeroblob(1000000)) WHERE id = 2",
        "UPDATE models SET graph = x'fffe'",
        "UPDATE models SET graph = hex(zeroblob(1000000))",
        "UPDATE models SET name = x'00'",
        "UPDATE models SET class_names = '5'",
        "UPDATE models SET class_names = replace(hex(zeroblob(50000)), '0', '[')",
        "UPDATE models SET class_names = '[[[['",
        "UPDATE models SET class_names = '{\"a\": 1}'",
    ],
)
def test_what_no_answer_is_in_a_log_is_damage(run, tmp_path, change):
    log, target = tmp_path / "log.db", tmp_path / "log.parquet"
    run("classify", SAMPLES, "--log", log)
    changed(log, change)
    for arguments in (("--json",), *exports(target)):
        done = run("drift", log, *arguments)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"Error: The log {log} is damaged: ")
        assert len(done.err.splitlines()) == 1
    assert not target.exists()


def exports(target):
    """Return the options that export a log, where that can be."""
    return [("--export-parquet", target)] if find_spec("pyarrow") else []


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n"
# What earlier versions of this program have executed, to the letter.
FORMAT_2 = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL, name TEXT NOT NULL, graph TEXT NOT NULL, class_names TEXT NOT NULL,
    UNIQUE (identity, graph)
);
CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, request TEXT, model INTEGER NOT NULL REFERENCES models,
    class_index INTEGER NOT NULL, confidence REAL NOT NULL, known REAL NOT NULL, rejected INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, brightness REAL NOT NULL
);
"""
COMPUTED = FORMAT_2.split(";")[1].replace(
    "confidence REAL NOT NULL", "confidence REAL AS (0.5 + 0 * length(hex(zeroblob(400000000 + id))))"
)


def changed(log, change):
    """Change a log as its owner could, who is a stranger."""
    connection = sqlite3.connect(log, isolation_level=None)
    connection.executescript(change)
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        f"CREATE TRIGGER t AFTER INSERT ON answers BEGIN INSERT INTO answers (id) SELECT id FROM ({ENDLESS}); END",  # noqa: S608
        f"CREATE VIEW more AS {ENDLESS}",
        "CREATE INDEX more ON answers (length(hex(zeroblob(id))))",
        "CREATE TABLE more (id INTEGER)",
        "ALTER TABLE answers ADD COLUMN more INTEGER",
        "ALTER TABLE answers ADD COLUMN more AS (length(hex(zeroblob(400000000 + id))))",
        f"DROP TABLE answers; {COMPUTED}",
        "DROP TABLE models",
    ],
)
def test_a_log_with_anything_else_in_it_is_refused_and_left_alone(run, tmp_path, change):
    log, target = tmp_path / "log.db", tmp_path / "log.parquet"
    run("classify", SAMPLES / "rose.jpg", "--log", log)
    changed(log, f"{change}; PRAGMA journal_mode = DELETE")
    before = log.read_bytes()
    drifts = [("drift", log, *options) for options in ((), *exports(target))]
    for arguments in (("classify", SAMPLES / "rose.jpg", "--log", log), *drifts):
        done = run(*arguments)
        assert (done.code, done.out) == (1, "")
        assert "is no log of answers" in done.err
    assert log.read_bytes() == before
    assert not target.exists()


def test_sql_in_a_log_makes_nothing_huge(tmp_path):
    with open_to_write(tmp_path / "log.db") as connection, pytest.raises(sqlite3.DataError, match="too big"):
        connection.execute("SELECT hex(zeroblob(400000000))")
    connection.close()


def test_logs_of_earlier_versions_and_analysed_ones_are_read_and_written(run, tmp_path):
    log = tmp_path / "log.db"
    connection = sqlite3.connect(log)
    for statement in FORMAT_2.split(";"):
        connection.execute(statement)
    connection.executescript(f"PRAGMA application_id = {0x666C6F77}; PRAGMA user_version = 2")
    connection.close()
    assert run("classify", SAMPLES, "--log", log).err == ""
    changed(log, "ANALYZE; VACUUM")
    assert run("classify", SAMPLES / "rose.jpg", "--log", log).err == ""
    assert run("drift", log).code == 0
    assert len(rows(log)) == PICTURES + 1


def test_a_log_that_is_a_program_is_not_run(run, tmp_path):
    log = tmp_path / "log.db"
    run("classify", SAMPLES / "rose.jpg", "--log", log)
    with sqlite3.connect(log) as connection:
        connection.execute("ALTER TABLE answers RENAME TO kept")
        connection.execute(f"CREATE VIEW answers AS {ENDLESS}")
    connection.close()
    done = run("drift", log)
    assert (done.code, "is no log of answers" in done.err) == (1, True)


def test_answer_that_is_no_number_is_told_and_never_logged(tmp_path, classifier):
    said = []
    nothing = classifier.prediction(classes(classifier), float("nan"))
    with RequestLog(tmp_path / "log.db", classifier.bundle, "g", say=said.append) as log:
        log.observe(Observation(nothing, 100, 80, 120.5))
    assert rows(tmp_path / "log.db") == []
    assert "cannot be written: not all of it is numbers" in said[0]


@pytest.mark.parametrize(("path", "said"), [("missing/log.db", "is no folder"), (".", "is a folder")])
def test_impossible_places_are_refused(run, tmp_path, path, said):
    done = run("classify", SAMPLES / "rose.jpg", "--log", tmp_path / path)
    assert done.code == 1
    assert said in done.err
    assert done.out == ""


def test_slow_disk_makes_nobody_wait(tmp_path, classifier, monkeypatch):
    monkeypatch.setattr(request_log, "WAITING", 50)
    said = []
    blocker = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    log = RequestLog(tmp_path / "log.db", classifier.bundle, "g", say=said.append)
    blocker.execute("BEGIN IMMEDIATE")
    one = observed(classifier)
    started = time.perf_counter()
    for _ in range(1000):
        log.observe(one)
    assert time.perf_counter() - started < 5
    blocker.execute("COMMIT")
    blocker.close()
    log.close()
    assert log.dropped > 500
    assert log.written + log.dropped == 1000
    assert said == [f"{log.dropped} of 1000 answers are not in the log {tmp_path / 'log.db'}."]


def test_many_threads_may_tell(tmp_path, classifier):
    with RequestLog(tmp_path / "log.db", classifier.bundle, "g", say=pytest.fail) as log:
        threads = [
            threading.Thread(target=lambda: [log.observe(observed(classifier)) for _ in range(20)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(rows(tmp_path / "log.db")) == 160


def test_deleted_log_is_made_anew(tmp_path, classifier):
    path = tmp_path / "log.db"
    log = RequestLog(path, classifier.bundle, "g", say=pytest.fail)
    log.observe(observed(classifier))
    wait_for(lambda: log.written == 1)
    for file in tmp_path.glob("log.db*"):
        file.unlink()
    log.observe(observed(classifier))
    log.close()
    assert len(rows(path)) == 1


def test_read_only_log_is_read(tmp_path, classifier):
    folder = tmp_path / "logs"
    folder.mkdir()
    with RequestLog(folder / "log.db", classifier.bundle, "g", say=pytest.fail) as log:
        log.observe(observed(classifier))
    (folder / "log.db").chmod(0o444)
    folder.chmod(0o555)
    try:
        assert len(read(folder / "log.db", identity(classifier.bundle)).times) == 1
    finally:
        folder.chmod(0o755)


def test_identity_is_that_of_the_model_not_of_its_files(tmp_path):
    bundle = load_model(None)
    copy = shutil.copytree(bundle.path, tmp_path / "renamed")
    assert identity(load_model(str(copy))) == identity(bundle)
    config = json.loads((copy / "config.json").read_text())
    for name, value in (("temperature", 9.0), ("known", {"scale": 1.0})):
        changed = {**config, "flowers": {**config["flowers"], name: value}}
        (copy / "config.json").write_text(json.dumps(changed))
        assert identity(load_model(str(copy))) != identity(bundle)
