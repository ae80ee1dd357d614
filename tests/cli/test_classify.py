"""``flowers classify``: the JSON contract, order, errors in their place, every kind of input."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from conftest import FLOWERS, SAMPLES, command, default_interrupt, flowers, in_terminal

from flowercli.inference.classifier import Classifier
from flowercli.inference.pipeline import Waiting, classify_stream, ordered_map
from flowercli.models import FOLDER, load_model

PICTURES = [SAMPLES / f"{name}.jpg" for name in FLOWERS]


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_the_shipped_model_names_the_samples(run):
    result = run("classify", *PICTURES, "--json")
    answers = lines(result.out)
    assert result.code == 0
    assert result.err == ""
    assert [answer["predicted_class"] for answer in answers] == list(FLOWERS)
    assert not any(answer["rejected"] for answer in answers)


def test_json_contract(run):
    answer = lines(run("classify", PICTURES[2], "--json").out)[0]
    assert list(answer) == [
        "path", "predicted_class", "scientific_name", "class_index", "confidence", "known", "all_predictions",
        "rejected", "reason",
    ]  # fmt: skip
    assert (answer["rejected"], answer["reason"]) == (False, None)
    assert answer["path"] == str(PICTURES[2])
    assert load_model(None).class_names[answer["class_index"]] == answer["predicted_class"] == "rose"
    assert answer["scientific_name"] == "Rosa"
    values = list(answer["all_predictions"].values())
    assert len(answer["all_predictions"]) == 5
    assert values == sorted(values, reverse=True)
    assert answer["confidence"] == values[0]
    for top_k, listed in ((2, 2), (5, 5), (0, 106)):
        options = ("--json", "--top-k", top_k)
        (wide,) = lines(run("classify", PICTURES[2], *options).out)
        assert (wide["predicted_class"], len(wide["all_predictions"])) == ("rose", listed)
    assert sum(wide["all_predictions"].values()) == pytest.approx(1, abs=1e-4)


def test_bad_pictures_are_reported_in_their_place(run, tmp_path):
    text, cut = tmp_path / "text.jpg", tmp_path / "cut.jpg"
    text.write_text("no picture")
    cut.write_bytes(PICTURES[0].read_bytes()[:30_000])
    paths = [PICTURES[0], text, PICTURES[1], cut, tmp_path / "none.jpg", PICTURES[2]]
    result = run("classify", *paths, "--json")
    answers = lines(result.out)
    assert result.code == 3
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    assert [answer.get("error", {}).get("code") for answer in answers] == [
        None, "not_an_image", None, "truncated", "not_found", None,
    ]  # fmt: skip
    assert all(set(answer) == {"path", "error"} for answer in answers if "error" in answer)
    plain = run("classify", *paths)
    assert plain.code == 3
    assert plain.out.splitlines()[1].split("\t")[:3] == [str(text), "error", "not_an_image"]
    assert "3 of 6 could not be read" in plain.err


@pytest.fixture
def folder(tmp_path):
    """Return a folder with pictures in subfolders, and what is not to be found."""
    for number, path in enumerate(("b.jpg", "a.PNG", "sub/c.jpeg", ".hidden.jpg", ".git/d.jpg", "sub/notes.txt")):
        target = tmp_path / "album" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PICTURES[number % 5], target)
    return tmp_path / "album"


def found(result):
    return [Path(answer["path"]).name for answer in lines(result.out)]


def test_folders_globs_and_stdin(run, folder, monkeypatch):
    assert found(run("classify", folder, "--json")) == ["a.PNG", "b.jpg", "c.jpeg"]
    assert found(run("classify", folder / "*.jpg", "--json")) == ["b.jpg"]
    assert found(run("classify", folder / "**" / "c*", "--json")) == ["c.jpeg"]
    paths = f"{folder / 'b.jpg'}\r\n\n{folder / 'sub'}\n-\n"
    monkeypatch.setattr("sys.stdin", iter(paths.splitlines(keepends=True)))
    assert found(run("classify", PICTURES[0], "-", "--json")) == ["daisy.jpg", "b.jpg", "c.jpeg"]


def test_addresses_of_files(run, tmp_path):
    shutil.copy(PICTURES[0], tmp_path / "Gänse blume.jpg")
    url = (tmp_path / "Gänse blume.jpg").as_uri()
    assert "%20" in url
    assert found(run("classify", url, tmp_path.as_uri(), "--json")) == ["Gänse blume.jpg"] * 2
    assert lines(run("classify", f"{tmp_path.as_uri()}/no.jpg", "--json").out)[0]["error"]["code"] == "not_found"


def test_nothing_found(run, tmp_path):
    result = run("classify", tmp_path)
    assert (result.code, result.out) == (3, "")
    assert "No pictures found" in result.err
    missing = run("classify", tmp_path / "*.jpg", "--json")
    assert (missing.code, lines(missing.out)[0]["error"]["code"]) == (3, "not_found")


def test_top_k(run):
    assert len(lines(run("classify", PICTURES[0], "--json", "--top-k", 2).out)[0]["all_predictions"]) == 2
    five = ("--model", "flowers5")
    assert len(lines(run("classify", PICTURES[0], "--json", "-k", 99, *five).out)[0]["all_predictions"]) == 5
    assert run("classify", PICTURES[0], "--json", "-k", 0).out == run("classify", PICTURES[0], "--json", "-k", 999).out
    assert run("classify", PICTURES[0], "--top-k", -1).code == 2


def test_plain_text_in_a_pipe(run):
    fields = run("classify", PICTURES[3]).out.rstrip("\n").split("\t")
    assert fields[:2] == [str(PICTURES[3]), "sunflower"]
    assert 0 < float(fields[2]) <= 1


def test_model_by_folder_file_and_name(run, tmp_path):
    shipped = load_model(None)
    folder = Path(shutil.copytree(shipped.path, tmp_path / "folder"))
    lone = Path(shutil.copy(shipped.file("model.int8.onnx"), tmp_path / "lone.onnx"))
    answers = [run("classify", PICTURES[0], "--json", "--model", model) for model in (folder, lone, shipped.path.name)]
    assert {answer.out for answer in answers} == {run("classify", PICTURES[0], "--json").out}
    result = run("classify", PICTURES[0], "--model", tmp_path / "none")
    assert result.code == 1
    assert "no model bundle" in result.err


def test_a_misspelt_model_is_told_the_nearest(run):
    result = run("classify", SAMPLES / "rose.jpg", "--model", "gardn")
    assert "There is no model 'gardn'. The nearest: garden." in result.err
    assert "flowers models" in result.err


def test_altered_model_is_refused(run, tmp_path):
    folder = Path(shutil.copytree(load_model(None).path, tmp_path / "folder"))
    model = folder / "model.int8.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    result = run("classify", PICTURES[0], "--model", folder)
    assert (result.code, result.out) == (1, "")
    assert "is not the file the bundle lists" in result.err


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_device_that_is_not_there_is_an_error(run, device):
    if Classifier.open(load_model(None)).runtime.device != "cpu":
        pytest.skip("this machine has a GPU")
    result = run("classify", PICTURES[0], "--device", device)
    assert (result.code, result.out) == (1, "")
    assert f"--device {device} cannot be had" in result.err


def test_a_file_of_another_size_is_not_read(run, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(FOLDER / "flowers5", bundle)
    with (bundle / "model.int8.onnx").open("r+b") as file:
        file.truncate(300 * 2**30)  # It takes no room.
    result = run("classify", PICTURES[0], "--model", bundle)
    assert result.code == 1
    assert f"size {300 * 2**30} instead of" in result.err


@pytest.mark.parametrize("threads", ["0", "-1", "1e9", "9" * 5000, "100000", "²"])
def test_numbers_of_threads_that_are_none_are_refused(run, monkeypatch, threads):
    monkeypatch.setenv("FLOWERS_THREADS", threads)
    result = run("classify", PICTURES[0])
    assert result.code == 2
    assert "a whole number from 1 to 1024" in result.err
    assert len(result.err) < 300


def test_device_and_reasons_are_said(run):
    assert run("classify", PICTURES[0], "--device", "gpu").code == 2
    err = run("classify", PICTURES[0], "--verbose").err
    assert "model.int8.onnx" in err or "cuda" in err


def test_neither_help_nor_classify_import_what_they_do_not_need():
    script = (
        "import sys; from flowercli.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'timm', 'mlflow', 'hydra', 'sklearn', 'matplotlib', 'huggingface_hub', 'pydantic'};"
        "heavy &= set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    for arguments in (["--help"], ["train", "--help"], ["classify", str(PICTURES[0]), "--json"]):
        done = subprocess.run(
            [command()[0], "-c", script, *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr


def test_help_imports_no_runtime():
    script = (
        "import sys; from flowercli.cli.main import main; main(['--help']);"
        "sys.exit(str({'numpy', 'onnxruntime', 'PIL'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([command()[0], "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.strip() == ""


def test_reader_that_leaves_early_ends_the_run():
    paths = " ".join(f"'{path}'" for path in PICTURES * 40)
    script = f"set -o pipefail; {' '.join(command('classify'))} --json {paths} | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_answers_come_one_by_one():
    """Write a path, read its answer, and only then write the next."""
    process = subprocess.Popen(
        command("classify", "-", "--json"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name, path in zip(FLOWERS, PICTURES, strict=True):
            process.stdin.write(f"{path}\n")
            assert json.loads(process.stdout.readline())["predicted_class"] == name
        process.stdin.close()
        assert process.wait(30) == 0


def test_interrupt_exits_130_without_a_traceback():
    """Interrupt a run that waits for its next path, and one that is in the middle of its work."""
    for extra in ([], PICTURES * 400):
        process = subprocess.Popen(
            command("classify", *extra, "-", "--json"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
            preexec_fn=default_interrupt,  # noqa: PLW1509
        )  # fmt: skip
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            if not extra:
                process.stdin.write(f"{PICTURES[0]}\n")
            assert json.loads(process.stdout.readline())["predicted_class"] == "daisy"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in err


def test_urls(run, tmp_path):
    shutil.copy(PICTURES[4], tmp_path / "tulip.jpg")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, directory=tmp_path, **options)

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        answers = lines(run("classify", f"{base}/tulip.jpg", f"{base}/none.jpg", "--json").out)
        server.shutdown()
    assert answers[0]["predicted_class"] == "tulip"
    assert answers[1]["error"] == {"code": "download_failed", "message": "The server answered 404 File not found."}
    dead = lines(run("classify", f"{base}/tulip.jpg", "--json").out)
    assert dead[0]["error"]["code"] == "download_failed"


class Crooked(http.server.BaseHTTPRequestHandler):
    """Answers in ways that servers should not."""

    def do_GET(self):
        if self.path == "/other":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/tulip.jpg")
            self.end_headers()
            return
        self.send_response(206 if self.path == "/part" else 200)
        self.send_header("Content-Length", "-5" if self.path == "/length" else "1000")
        self.end_headers()
        if self.path in {"/part", "/length"}:
            self.wfile.write(bytes(1000))
            return
        if self.path == "/early":
            self.wfile.write(b"half")
            return
        with contextlib.suppress(OSError):
            for _ in range(100):
                self.wfile.write(b".")
                time.sleep(0.1)

    def log_message(self, *_arguments):
        pass


def test_a_crooked_address_costs_its_place_only(run, monkeypatch):
    monkeypatch.setattr("flowercli.inference.picture_url.TIMEOUT_SECONDS", 1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Crooked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        odd = [f"{base}/{name}" for name in ("other", "early", "drips", "part", "length")]
        result = run("classify", *odd, "http://[", PICTURES[4], "--json")
        server.shutdown()
    *errors, tulip = lines(result.out)
    odd = ["not send the whole"] * 2
    said = ("less safe, ftp://", "ended early, after 4 of 1000", "not come in 1 seconds", *odd, "be fetched")
    for error, words in zip(errors, said, strict=True):
        assert error["error"]["code"] == "download_failed"
        assert words in error["error"]["message"]
    assert tulip["predicted_class"] == "tulip"


def test_a_picture_on_stdin():
    done = subprocess.run(
        command("classify", "-", PICTURES[1], "--json"),
        input=PICTURES[4].read_bytes(),
        capture_output=True,
        check=False,
    )
    first, second = lines(done.stdout.decode())
    assert (first["path"], first["predicted_class"], second["predicted_class"]) == ("-", "tulip", "dandelion")


@pytest.fixture
def deep_folder(tmp_path):
    """A folder 1,100 levels deep, and beside its first level one with a photograph."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (tmp_path / "z").mkdir()
    shutil.copy(PICTURES[4], tmp_path / "z")
    yield tmp_path
    # Neither shutil nor pytest can remove it.
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


def test_folders_deeper_than_calls_are_walked(deep_folder, run):
    assert lines(run("classify", deep_folder, "--json").out)[-1]["predicted_class"] == "tulip"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_globs_follow_no_links_and_go_as_deep_as_folders(deep_folder, run, monkeypatch):
    monkeypatch.chdir(deep_folder)
    for number in range(3):
        (deep_folder / f"loop{number}").symlink_to(".")
    for pattern in ("**/*.jpg", "**", "z/**", "**/z/*.jpg", "**/**/*.jpg"):
        assert [line["path"] for line in lines(run("classify", pattern, "--json").out)] == [f"z/{PICTURES[4].name}"]


@pytest.mark.skipif(sys.platform != "linux", reason="sizes of pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_does_not_wait_gets_every_answer(unbuffered):
    import fcntl

    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    line, environment = (
        command("classify", *[PICTURES[0]] * 40, "--json"),
        {**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    with subprocess.Popen(line, stdout=writer, env=environment) as process, os.fdopen(reader, "rb") as stream:
        os.close(writer)
        time.sleep(1.5)
        assert len(stream.read().splitlines()) == 40
    assert process.returncode == 0


def test_an_interrupt_does_not_wait_for_a_server():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/rose.jpg"
        with subprocess.Popen(command("classify", url), preexec_fn=default_interrupt) as process:  # noqa: PLW1509
            asking, _ = silent.accept()
            with asking:
                time.sleep(0.3)
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 130


def test_order_is_kept_and_memory_bounded():
    in_work = []
    highest = 0

    def items():
        nonlocal highest
        for number in range(500):
            in_work.append(number)
            highest = max(highest, len(in_work))
            yield str(number)

    results = []
    for result in ordered_map(lambda item: item, items(), workers=2):
        in_work.pop()
        results.append(result)
    assert results == [str(number) for number in range(500)]
    assert highest < 40


def test_calls_of_workers_do_not_pile_up():
    waiting, calls, taken = Waiting(workers=2), 0, []
    for number in range(1000):  # A worker is as fast as items come in, and takes two where it can.
        calls += waiting.add(str(number), Future())
        if number > 8 and number % 2:
            calls -= 1
            taken += [item for item, _ in waiting.take()]
        assert calls < 16
    while calls:
        calls -= 1
        taken += [item for item, _ in waiting.take()]
    assert taken == [str(number) for number in range(1000)]


def test_errors_of_the_source_reach_the_reader():
    def items():
        yield "a"
        message = "the source broke"
        raise ValueError(message)

    results = ordered_map(lambda item: item, items(), workers=2)
    assert next(results) == "a"
    with pytest.raises(ValueError, match="the source broke"):
        next(results)


def test_stream_equals_one_by_one():
    classifier = Classifier.open(load_model(None))
    streamed = [result.outcome for result in classify_stream(classifier, map(str, PICTURES * 3), workers=3)]
    assert streamed == [classifier.classify(path) for path in PICTURES] * 3


def test_table_on_a_terminal():
    for columns in (60, 100, 200):
        shown = in_terminal(["classify", *PICTURES[:2], "none.jpg"], columns)
        assert shown.code == 3
        for word in ("Picture", "Flower", "daisy", "dandelion", "█", "%", "error"):
            assert word in shown.out
        assert all(len(line) <= columns for line in shown.out.splitlines())


@pytest.mark.photos
def test_accuracy_on_real_photographs(photos):
    """The shipped model on every 23rd photograph; the split's own figures are in the model card."""
    names = {"daisy": "daisy", "dandelion": "dandelion", "roses": "rose", "sunflowers": "sunflower", "tulips": "tulip"}
    chosen = [(path, names[folder.name]) for folder in photos.iterdir() for path in sorted(folder.iterdir())[::23]]
    done = flowers("classify", *(path for path, _ in chosen), "--json")
    answers = lines(done.out)
    right = sum(answer["predicted_class"] == name for answer, (_, name) in zip(answers, chosen, strict=True))
    assert right / len(chosen) > 0.95
