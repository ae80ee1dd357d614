"""What commands write on stderr is theirs: no library says a word, in a home that cannot be written to either."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import COLOURS, ROOT, SAMPLES, command, flowers, write_picture
from PIL import Image

from flowercli.onnxruntime_quietly import CHATTER, kept_from_stderr
from flowercli.tracking.spool import Spool

NEXT = r"(Now|Next|Try it|To take that back|Look at|See it)\b.*"
ADDED = r"Added to the record of the run: .*"
ACCESS = r'INFO: +127\.0\.0\.1:\d+ - "GET /ping HTTP/1\.1" 200 OK'
# What Python's warnings and logs of libraries look like.
LOGGED = re.compile(r"\w+Warning\b|\.py:\d+|\bWARNING\b|\bINFO\b|\[[VIWE]:|Traceback|alembic|^\d{4}[-/]\d\d")
NETWORK_OF = r"[a-z0-9_]+ \(\w+\) on cpu \(model\.\S+\).*, \d+ threads\."

# Commands, and the lines that are theirs.
WITHOUT_TORCH = [
    (["models"], ["All flowers of one: .*"]),
    (["models", "garden"], []),
    (["doctor", "--no-benchmark"], []),
    (["download", "--list"], ["Nothing is there yet.*", "Unfinished downloads.*"]),
    (["publish", "garden", "some/name", "--dry-run"], ["The card.*", "There is no .*", "Nothing was sent.*"]),
    (["export", "garden", "--web", "NEW"], ["Any host can serve.*", NEXT]),
    (["export", "garden", "--triton", "NEW"], ["The server's Python needs: .*", NEXT]),
    (["export", "garden", "--delivery", "NEW"], ["Packing .*", NEXT]),
    (["split", "DATA", "--output", "NEW"], ["Warning: near copies were not looked for.*", "Manifest: .*"]),
    (["merge", "DATA", "--output", "NEW", "--json"], ["Warning: near copies were not looked for.*"]),
]


@pytest.fixture(scope="module")
def strange():
    """Return the environment of a user without a home that can be written to, as in many containers."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))}
    return {**ours, "HOME": "/proc/none"}


@pytest.fixture
def says(strange):
    """Return a function that runs the program as a process, with warnings as errors, and looks at each line."""

    def call(*arguments: object, ours: tuple[str, ...] = (), code: int = 0, forked: bool = False):
        done = flowers(*arguments, env={**strange, "PYTHONPATH": str(ROOT)}, timeout=600, forked=forked)
        assert done.code == code, done.err
        foreign = [line for line in done.err.splitlines() if not any(re.fullmatch(each, line) for each in ours)]
        assert foreign == []
        return done

    return call


@pytest.fixture(scope="session")
def odd_pictures(tmp_path_factory):
    """Return a folder of pictures that Pillow has something to say about."""
    folder = tmp_path_factory.mktemp("odd")
    rose = Image.open(SAMPLES / "rose.jpg")
    rose.save(
        folder / "orientation.jpg",
        exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\xff\xff\0\0\x0f\x01\x02",
    )
    rose.save(folder / "cut_exif.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    rose.save(folder / "profile.jpg", icc_profile=b"nonsense" * 10)
    rose.convert("P").save(folder / "palette.png", transparency=bytes(range(100)))
    Image.new("L", (12000, 10000), 120).save(folder / "large.jpg", quality=10)
    rose.save(folder / "cut.tif")
    (folder / "cut.tif").write_bytes((folder / "cut.tif").read_bytes()[:-20])
    return folder


def test_odd_pictures(says, odd_pictures, tmp_path):
    sorted_into = [r"Copied 5 pictures into .*", r"To take that back: flowers undo .*"]
    read = says(
        "classify", odd_pictures, "--copy-to", tmp_path / "sorted", "--log", tmp_path / "log.db", code=3,
        ours=("Warning: 1 of 6 could not be read.", *sorted_into),
    )  # fmt: skip
    assert "cut.tif\terror" in read.out
    (undo,) = (tmp_path / "sorted").glob("undo-*.jsonl")
    says("undo", undo, ours=(r"5 taken back, 0 left\.",))
    says("drift", tmp_path / "log.db")


def test_tagging(says, odd_pictures, tmp_path):
    library = shutil.copytree(odd_pictures, tmp_path / "library")
    counted = (
        r"6 pictures: \d new sidecars? written\.",
        r"\d pictures? not surely of a flower .*",
        "What it knows: .*",
        NEXT,
    )
    unread = (r"Warning: .*/cut\.tif: .*", r"Warning: 1 of 6 could not be read\.")
    says("tag", library, code=3, ours=(*counted, *unread))
    (receipt,) = library.glob("undo-*.jsonl")
    says("tag", "--undo", receipt, ours=(r"\d taken back, 0 left\.",))


@pytest.mark.parametrize(("arguments", "ours"), WITHOUT_TORCH, ids=[" ".join(words) for words, _ in WITHOUT_TORCH])
def test_commands_that_need_no_torch(says, own_dataset, tmp_path, arguments, ours):
    names = {"DATA": own_dataset, "NEW": tmp_path / "new"}
    says(*[names.get(word, word) for word in arguments], ours=tuple(ours))


def test_commands_of_mlflow_and_matplotlib(says, own_bundle, dataset, tmp_path):
    says("export", own_bundle, "--mlflow", tmp_path / "packed", ours=("Packing .*", NEXT))
    says("classify", dataset, "--model", own_bundle, "--log", tmp_path / "log.db")
    says(
        "drift", tmp_path / "log.db", "--reference", own_bundle, "--plot", tmp_path / "plot.svg", ours=("p: chance.*",)
    )
    says("drift", tmp_path / "log.db", "--export-parquet", tmp_path / "log.parquet", ours=(r"\d+ answers in .*",))
    says("reference", own_bundle, ours=(r"\d+ (photographs|pictures), model\.int8\.onnx: .*",))


# Each that loads what no other does starts as users start it. More of them, and training, under `-W error` too, are in
# docs/first-hour.md, each line read: test_transcripts.py.
@pytest.mark.slow
def test_commands_of_torch(says, own_bundle, tmp_path):
    says("eval", own_bundle, "--split", "val", "--report", tmp_path / "page.html", ours=("The page: .*", ADDED))
    says("eval", own_bundle, "--find-label-errors", ours=("The embeddings are of .*",))
    for seed, (name, colour) in enumerate(COLOURS.items()):
        write_picture(tmp_path / "others" / name / "one.jpg", colour, 9000 + seed)
    says("eval", own_bundle, "--data", tmp_path / "others", ours=("The metrics are not written .*",), forked=True)
    steps = ("Asking torch about .*", "Exporting fp32", "Converting to fp16")
    says("export", own_bundle, "--fp16", "--max-drop", 50, ours=(*steps, NEXT))
    says(
        "average", own_bundle, own_bundle, "--output", tmp_path / "mean", ours=("Accuracy on validation .*",),
        forked=True,
    )  # fmt: skip


@pytest.mark.slow
def test_training(strange, own_dataset, tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    options = ("model=tiny", "--epochs", 1, "num_workers=2", "precision=bf16", "plots=true", "patience=0")
    recorded = ("--output", tmp_path / "runs", "tracking.experiment=quiet")
    arguments = ("train", "--data", own_dataset, *options, *recorded)
    done = flowers(*arguments, env=strange, timeout=600, forked=False)
    assert done.code == 0, done.err
    assert "Best on validation" in done.err
    assert [line for line in done.err.splitlines() if LOGGED.search(line)] == []


def test_track(says, tmp_path):
    pytest.importorskip("mlflow", reason="needs the extra 'train'")
    spool = Spool.create(tmp_path / "tracking" / "killed", f"sqlite:///{tmp_path}/runs.db")
    spool.append("run", id="1", experiment="flowers", name="killed", time=1000, tags={})
    spool.append("metrics", time=1001, step=1, values={"loss": 1.0})
    spool.close()
    says("track", tmp_path / "tracking" / "killed", ours=("All of it is recorded in .*",))


def test_data(strange, tmp_path):
    pytest.importorskip("dvc", reason="needs the extra 'data'")
    steps = (["init", "--remote", "s3://bucket/prefix", "--no-scm", "--no-check"], ["status", "--local"])
    for words in steps:
        done = subprocess.run(
            command("data", *words), cwd=tmp_path, env=strange, capture_output=True, check=True, text=True
        )
        ours = r"Made a DVC.*|Set the remote.*|Nothing is tracked yet.*|Now: flowers data push FOLDER"
        assert [line for line in done.stderr.splitlines() if not re.fullmatch(ours, line)] == []


@pytest.mark.network
@pytest.mark.parametrize(
    ("arguments", "path", "ours"),
    [
        (["serve"], "/", (NETWORK_OF, "Ready: .*", "Stopped.", r"\{.*\}")),
        (["serve-mlflow"], "/ping", (r"Serving garden .* at http://127\.0\.0\.1:.*", "Stopped.", ACCESS)),
    ],
    ids=["serve", "serve-mlflow"],
)
def test_servers(strange, tmp_path, arguments, path, ours):
    pytest.importorskip("mlflow" if "mlflow" in arguments[0] else "fastapi", reason="needs the extra 'serve'")
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command(*arguments, "--port", 0), cwd=ROOT, env=strange, stdout=stderr, stderr=stderr
        )
    try:
        for _ in range(3000):
            found = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())
            if found or process.poll() is not None:
                break
            time.sleep(0.1)
        assert found, log.read_text()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)) as connection:
            connection.request("GET", path)
            assert connection.getresponse().status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert [line for line in log.read_text().splitlines() if not any(re.fullmatch(each, line) for each in ours)] == []


def test_onnxruntime_says_nothing_of_a_strange_graphics_card(tmp_path):
    card = tmp_path / "class" / "drm" / "card0" / "device"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x10de\n")
    mount = f"mount --bind {shlex.quote(str(tmp_path / 'class'))} /sys/class"

    def there(*words: str):
        wanted = f"{mount} && exec {shlex.join(words)}"
        return subprocess.run(
            ["unshare", "-rm", "sh", "-c", wanted], capture_output=True, text=True, check=False, cwd=ROOT
        )

    if shutil.which("unshare") is None or there("true").returncode:
        pytest.skip("needs a mount namespace")
    loud = there(sys.executable, "-c", "import onnxruntime").stderr
    if not CHATTER.search(loud.encode()):
        pytest.skip("this onnxruntime says nothing")
    done = there(*command("classify", SAMPLES / "rose.jpg"))
    assert "rose" in done.stdout
    assert done.stderr == ""


def test_only_the_chatter_of_a_library_is_kept_from_stderr(capfd):
    error = b"2026-11-30 [E:onnxruntime:Default, x.cc:1] an error\n"
    with kept_from_stderr(CHATTER):
        os.write(2, b"\x1b[0;93m2026-11-30 [W:onnxruntime:Default, device_discovery.cc:1] a card\x1b[m\n")
        os.write(2, error + b"somebody else\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == error.decode() + "somebody else\nafterwards\n"
