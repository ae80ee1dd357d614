"""``flowers download dataset``: whole and verified whatever happens on the way, with a message for all that can."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from archive_server import Answer, archive_server
from conftest import command, flowers, write_dataset, write_picture

from flowercli.errors import DownloadError
from flowercli.transfer.contract import Wanted
from flowercli.transfer.fetch import fetch
from flowercli.transfer.patience import Patience

PATH = "/colours.tar.gz"
CLASSES = ["blue", "green", "reds"]
# Not a multiple of anything that the program or the server counts in.
LENGTH = 1_234_567


class Listener:
    """Takes note of what it is told."""

    def __init__(self):
        self.retries = []
        self.waited = threading.Event()

    def waiting(self):
        self.waited.set()

    def begin(self, done, total):
        assert total is None or done <= total

    def advance(self, count):
        assert count > 0

    def retry(self, fault, seconds):
        self.retries.append((fault.message, seconds))


def packed(folder, prefix="colours"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, prefix)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return packed(write_dataset(tmp_path_factory.mktemp("packed") / "colours", photos=5))


@pytest.fixture(scope="module")
def sha256(archive):
    return hashlib.sha256(archive).hexdigest()


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Give each test a data directory of its own, and no proxy but its own."""
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def server(archive):
    with archive_server({PATH: archive}) as shared:
        yield shared


@pytest.fixture(scope="module")
def content():
    return random.Random(0).randbytes(LENGTH)


@pytest.fixture
def bare(content):
    """Serve a file of random bytes, for what concerns the transfer alone."""
    with archive_server({"/file": content}) as shared:
        yield shared


def patient(retries=3):
    """Wait as little as can be: what is waited for is on this machine."""
    return Patience(retries=retries, timeout=5, longest_wait=0.02)


def visible(folder):
    return sorted(path.name for path in Path(folder).glob("*") if not path.name.startswith("."))


# A dataset as its user gets it.


def test_a_dataset_arrives_is_listed_used_and_removed(run, server, sha256, own_home, monkeypatch, tmp_path):
    done = run("download", "dataset", server.url(PATH), "--sha256", sha256)
    assert done.code == 0, done.err
    folder = own_home / "datasets" / "colours"
    assert done.out == f"{folder}\n"
    assert visible(folder) == CLASSES
    assert visible(own_home / "datasets") == ["colours"]
    assert "sha256 as expected" in done.err
    assert "flowers split colours" in done.err
    assert sum(path.stat().st_size for path in (own_home / "downloads").rglob("*") if path.is_file()) == 0

    requests = len(server.requests)
    again = run("download", "dataset", server.url(PATH), "--sha256", sha256, "--json")
    assert again.code == 0
    assert len(server.requests) == requests
    summary = json.loads(again.out)
    assert (summary["new"], summary["photos"], summary["counts"]) == (False, 15, dict.fromkeys(CLASSES, 5))

    (entry,) = json.loads(run("download", "--list", "--json").out)["installed"]
    assert (entry["name"], entry["source"], entry["sha256"]) == ("colours", server.url(PATH), sha256)
    assert "colours" in run("download", "--list").out

    monkeypatch.chdir(tmp_path)  # Where nothing has this name.
    split = run("split", "colours", "--json")
    assert split.code == 0
    assert json.loads(split.out)["manifest"] == str(folder / "flowers-split.json")

    removed = run("download", "--remove", "colours")
    assert removed.code == 0
    assert not folder.exists()
    assert json.loads(run("download", "--list", "--json").out) == {"installed": [], "unfinished": 0}
    missing = run("download", "--remove", "colours")
    assert missing.code == 1
    assert "Nothing downloaded is called 'colours'" in missing.err


def test_training_takes_the_name(run, server, sha256, own_home, monkeypatch, tmp_path):
    pytest.importorskip("hydra", reason="needs the extra 'train'")
    assert run("download", "dataset", server.url(PATH), "--sha256", sha256).code == 0
    monkeypatch.chdir(tmp_path)
    shown = run("train", "--data", "colours", "--print-config")
    assert f"path: {own_home / 'datasets' / 'colours'}" in shown.out


def test_without_a_sha256_it_says_so_and_gives_what_it_found(run, server, sha256):
    done = run("download", "dataset", server.url(PATH) + "?signature=secret", "--name", "mine")
    assert done.code == 0
    assert f"--sha256 {sha256}" in done.err
    assert "secret" not in done.err + run("download", "--list", "--json").out


def test_output_elsewhere_is_recorded_but_not_deleted(run, server, sha256, tmp_path):
    output = tmp_path / "else" / "where"
    done = run("download", "dataset", server.url(PATH), "--sha256", sha256, "--output", output)
    assert done.out == f"{output}\n"
    assert visible(output) == CLASSES
    assert visible(output.parent) == ["where"]
    assert json.loads(run("download", "--list", "--json").out)["installed"][0]["path"] == str(output)
    forgotten = run("download", "--remove", "colours")
    assert f"left as it is: {output}" in forgotten.err
    assert visible(output) == CLASSES


def test_a_path_and_a_zip_in_the_wrong_folder_are_fine(run, tmp_path):
    """Some archives wrap their class folders several times."""
    photos = write_dataset(tmp_path / "photos", photos=2)
    with zipfile.ZipFile(tmp_path / "My flowers (1).zip", "w") as archive:
        for path in photos.rglob("*.jpg"):
            archive.write(path, Path("a", "b", path.relative_to(photos)))
    done = run("download", "dataset", tmp_path / "My flowers (1).zip")
    assert done.code == 0, done.err
    assert visible(done.out.strip()) == CLASSES
    assert Path(done.out.strip()).name == "My-flowers-1"


def test_unreadable_photographs_are_told(run, tmp_path):
    photos = write_dataset(tmp_path / "photos", photos=2)
    (photos / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / "some.tgz").write_bytes(packed(photos))
    done = run("download", "dataset", tmp_path / "some.tgz", "--json")
    summary = json.loads(done.out)
    assert summary["counts"] == dict.fromkeys(CLASSES, 2)
    assert [entry["path"] for entry in summary["unreadable"]] == ["blue/broken.jpg"]
    assert "1 photographs cannot be read" in done.err


def test_an_archive_that_is_no_dataset_leaves_nothing(run, tmp_path, own_home):
    (tmp_path / "docs" / "one").mkdir(parents=True)
    (tmp_path / "docs" / "one" / "text.txt").write_text("hello", encoding="utf-8")
    (tmp_path / "docs.tgz").write_bytes(packed(tmp_path / "docs"))
    done = run("download", "dataset", tmp_path / "docs.tgz")
    assert done.code == 1
    assert "no two class folders" in done.err
    assert visible(own_home / "datasets") == []
    assert list((own_home / "datasets").iterdir()) == []


def test_another_dataset_of_the_same_name_is_not_overwritten(run, server, sha256):
    assert run("download", "dataset", server.url(PATH), "--sha256", sha256).code == 0
    done = run("download", "dataset", server.url(PATH), "--sha256", "0" * 64)
    assert done.code == 2
    assert "there already" in done.err
    assert "flowers download --remove colours" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense",), "neither a source, an address nor an archive"),
        (("ftp://127.0.0.1/x.tgz",), "no such kind of address"),
        (("http://127.0.0.1:99999/x.tgz",), "not an address that can be fetched"),
        (("http://[::1/x.tgz",), "not an address that can be fetched"),
        (("http:///x.tgz",), "no host"),
        (("https://user:secret@127.0.0.1/x.tgz",), "login in an address"),
        (("dvc",), "flowers data pull"),
        (("tensorflow", "--sha256", "abc"), "64 hexadecimal digits"),
        (("tensorflow", "--name", "../up"), "only letters"),
        (("file:///nothing/there.tgz",), "cannot be read"),
    ],
)
def test_a_mistake_is_told(run, arguments, message):
    done = run("download", "dataset", *arguments)
    assert done.code in (1, 2)
    assert message in done.err
    assert "secret" not in done.err
    assert done.out == ""


# What a server, or what is between, can do.


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "asks for a login (401"),
        (403, "refuses access"),
        (404, "no such file (404"),
        (407, "proxy that asks for a login"),
        (410, "no longer (410"),
        (500, "fails (500"),
        (503, "fails (503"),
        (429, "too many requests (429"),
    ],
)
def test_each_refusal_has_its_message(run, server, own_home, status, message):
    server.usual = Answer(status=status)
    done = run("download", "dataset", server.url(PATH), "--retries", "0")
    assert done.code == 1
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 2, "a message and a hint"
    assert visible(own_home / "datasets") == []
    assert len(server.requests) == 1


def test_what_may_pass_is_tried_again(bare, content, tmp_path):
    bare.plan = [Answer(status=status) for status in (500, 502, 503, 504, 429, 408)]
    listener = Listener()
    fetched = fetch(Wanted(bare.url("/file")), tmp_path / "file", listener, patience=patient(6))
    assert (tmp_path / "file").read_bytes() == content
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    assert len(listener.retries) == 6


def test_retry_after_is_kept(bare, tmp_path):
    bare.plan = [Answer(status=503, headers={"Retry-After": "1"})]
    listener, started = Listener(), time.monotonic()
    fetch(Wanted(bare.url("/file")), tmp_path / "file", listener, patience=Patience(longest_wait=2))
    assert time.monotonic() - started > 1
    assert listener.retries[0][1] == 1


def test_a_retry_after_that_is_too_long_is_left_to_the_user(run, server):
    server.usual = Answer(status=429, headers={"Retry-After": "5000"})
    done = run("download", "dataset", server.url(PATH))
    assert done.code == 1
    assert "asks to wait 5000 s" in done.err
    assert "Run the same command after" in done.err
    assert len(server.requests) == 1


def test_no_one_answers(run):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    done = run("download", "dataset", f"http://127.0.0.1:{port}/x.tgz", "--retries", "0")
    assert done.code == 1
    assert "127.0.0.1 refuses connections" in done.err


def test_an_unknown_name(run):
    done = run("download", "dataset", "https://flowers.invalid/x.tgz")
    assert done.code == 1
    assert "flowers.invalid cannot be looked up" in done.err


def test_silence(run, server):
    server.usual = Answer(silence=1)
    done = run("download", "dataset", server.url(PATH), "--retries", "0", "--timeout", "0.2")
    assert done.code == 1
    assert "does not answer" in done.err


def test_a_proxy_that_is_down_is_named_without_its_password(run, monkeypatch, server):
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    done = run("download", "dataset", server.url(PATH), "--retries", "0")
    assert done.code == 1
    assert "The proxy http://127.0.0.1:9 refuses connections" in done.err
    assert "secret" not in done.err


def test_a_proxy_that_wants_a_login(run, monkeypatch):
    def answer():
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        done = run("download", "dataset", "https://flowers.invalid/x.tgz", "--retries", "0")
    assert done.code == 1
    assert "proxy that asks for a login" in done.err


def test_a_certificate_that_is_not_trusted(run, archive, tmp_path, monkeypatch):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    make = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run([*make, "-keyout", key, "-out", certificate, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with archive_server({PATH: archive}, context) as server:
        done = run("download", "dataset", server.url(PATH))
        assert done.code == 1
        assert "certificate of 127.0.0.1 is not valid" in done.err
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert run("download", "dataset", server.url(PATH)).code == 0
        server.plan = [Answer(status=302, headers={"Location": "http://127.0.0.1:9/x.tgz"})]
        downgraded = run("download", "dataset", server.url("/other.tgz"))
        assert "less safe" in downgraded.err


def test_encryption_where_there_is_none(run, server):
    done = run("download", "dataset", server.url(PATH).replace("http:", "https:"), "--retries", "0")
    assert done.code == 1
    assert "No encrypted connection with 127.0.0.1" in done.err


# Cut, killed, changed.


def test_cut_at_random_bytes(bare, content, tmp_path):
    generator = random.Random(1)
    for number in range(10):
        bare.sent = 0
        bare.plan = [Answer(cut_after=generator.randrange(-1, LENGTH // 5)) for _ in range(5)]
        target = tmp_path / f"file{number}"
        fetch(Wanted(bare.url("/file")), target, Listener(), patience=patient())
        assert target.read_bytes() == content
        assert bare.sent == LENGTH, "bytes were fetched twice"
    assert visible(tmp_path) == sorted(f"file{number}" for number in range(10))


def test_cut_at_every_stage(bare, content, tmp_path):
    """Before the answer, before its body, after one byte, before the last; closed and reset."""
    cuts = (-1, 0, 1, LENGTH - 3)
    bare.plan = [Answer(cut_after=cut, reset=reset) for cut in cuts for reset in (False, True)]
    fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient(8))
    assert (tmp_path / "file").read_bytes() == content


def test_a_connection_that_is_always_cut_at_the_same_place_ends(bare, tmp_path):
    bare.usual = Answer(cut_after=1000, ignore_range=True)
    with pytest.raises(DownloadError, match="cut after 1000 of 1234567 bytes"):
        fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient())
    assert not (tmp_path / "file").exists()


def test_a_server_without_ranges(bare, content, tmp_path):
    bare.plan = [Answer(cut_after=1000)]
    bare.usual = Answer(ignore_range=True)
    fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient())
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize("ignore_if_range", [False, True])
def test_a_file_that_changed_meanwhile_starts_again(bare, tmp_path, ignore_if_range):
    """Also where the server minds no ``If-Range`` and sends the rest of another file."""
    bare.plan = [Answer(cut_after=LENGTH // 2)]
    target = tmp_path / "file"
    with pytest.raises(DownloadError, match="cut"):
        fetch(Wanted(bare.url("/file")), target, Listener(), patience=patient(0))
    changed = random.Random(5).randbytes(LENGTH)
    bare.files["/file"] = changed
    bare.usual = Answer(ignore_if_range=ignore_if_range)
    fetch(Wanted(bare.url("/file")), target, Listener(), patience=patient(0))
    assert target.read_bytes() == changed


def test_pieces_that_do_not_fit_together_are_thrown_away(bare, content, tmp_path):
    """No ETag, no date: only the sha256 tells."""
    target = tmp_path / "file"
    wanted = Wanted(bare.url("/file"), sha256=hashlib.sha256(content).hexdigest())
    bare.files["/file"] = bytes(LENGTH)
    bare.plan = [Answer(cut_after=LENGTH // 2, with_validator=False)]
    bare.usual = Answer(with_validator=False)
    with pytest.raises(DownloadError, match="cut"):
        fetch(wanted, target, Listener(), patience=patient(0))
    bare.files["/file"] = content
    fetch(wanted, target, Listener(), patience=patient(0))
    assert target.read_bytes() == content


def test_without_anything_to_tell_a_change_it_starts_again(bare, content, tmp_path):
    bare.plan = [Answer(cut_after=1000, with_validator=False)]
    bare.usual = Answer(with_validator=False)
    fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient())
    assert (tmp_path / "file").read_bytes() == content
    assert [asked for _, asked in bare.requests] == [None, None]


def test_killed_between_the_last_byte_and_the_name(bare, content, tmp_path):
    (tmp_path / ".partial-file").write_bytes(content)
    (tmp_path / ".partial-file.json").write_text(json.dumps({"validator": f'"{bare.etag(content)}"'}))
    fetched = fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient(0))
    assert (tmp_path / "file").read_bytes() == content
    assert fetched.received == 0


def test_the_wrong_file(run, server, own_home):
    done = run("download", "dataset", server.url(PATH), "--sha256", "0" * 64)
    assert done.code == 1
    assert "not 0000" in done.err
    assert "another file, or a damaged one" in done.err
    assert not list((own_home / "downloads").rglob(".partial-*.gz"))


def test_the_wrong_length(run, server):
    done = run("download", "dataset", "--url", server.url(PATH))
    assert done.code == 1
    assert "bytes, not 228813984" in done.err
    assert server.sent < 10**6


def test_a_length_that_is_not_true(bare, tmp_path):
    bare.usual = Answer(longer=7)
    with pytest.raises(DownloadError, match=f"cut after {LENGTH} of {LENGTH + 7}"):
        fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient(0))
    assert visible(tmp_path) == []


def test_a_length_that_is_not_told(bare, content, tmp_path):
    bare.usual = Answer(with_length=False)
    fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient(0))
    assert (tmp_path / "file").read_bytes() == content


def wait_for_bytes(server, count, process):
    until = time.monotonic() + 60
    while server.sent < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.005)


def after(statement, server, sha256):
    """Return the command line of the download after a statement: this process has threads, and must not fork alone."""
    code = f"import os, resource, signal, sys; {statement}; os.execv(sys.executable, sys.argv[1:])"
    return [sys.executable, "-c", code, *command("download", "dataset", server.url("/big.tar"), "--sha256", sha256)]


def start(server, sha256):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(after("signal.signal(signal.SIGINT, signal.SIG_DFL)", server, sha256), **pipes)


@pytest.fixture
def big(tmp_path):
    """Serve a dataset slowly, 64 kB in 10 ms: yields the server and the sha256."""
    photos = write_dataset(tmp_path / "photos", photos=2)
    for position, name in enumerate(CLASSES):
        (photos / name / "notes.bin").write_bytes(random.Random(position).randbytes(1_000_000))
    content = packed(photos)
    with archive_server({"/big.tar": content}) as shared:
        shared.usual = Answer(pause=0.01)
        yield shared, hashlib.sha256(content).hexdigest()


def test_killed_and_interrupted_it_goes_on(big, own_home):
    server, sha256 = big
    length = len(server.files["/big.tar"])
    with start(server, sha256) as process:
        wait_for_bytes(server, length // 4, process)
        process.kill()
    time.sleep(0.1)  # The server counts what is still on its way.
    sent = server.sent
    with start(server, sha256) as process:
        wait_for_bytes(server, sent + length // 4, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130
    assert "Interrupted at" in err
    assert "The same command goes on from there." in err
    assert visible(own_home / "datasets") == []
    with start(server, sha256) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert visible(out.strip()) == CLASSES
    assert "MB of it earlier" in err
    # What was under way at the two stops: a buffer of the system's, at most.
    assert server.sent < 1.3 * length
    assert [asked is not None for _, asked in server.requests] == [False, True, True]


def test_two_at_once_fetch_once(big):
    server, sha256 = big
    with start(server, sha256) as first, start(server, sha256) as second:
        results = [process.communicate(timeout=120) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), results
    assert results[0][0] == results[1][0]
    assert server.sent == len(server.files["/big.tar"])
    assert sum("waiting for it" in err for _, err in results) == 1
    assert sum("there already" in err for _, err in results) == 1


# The disk.


def test_too_little_space_is_told_before(run, server):
    server.usual = Answer(longer=10**17)
    done = run("download", "dataset", server.url(PATH))
    assert done.code == 1
    assert "MB are needed" in done.err
    assert "Free some space" in done.err


def test_a_disk_that_takes_no_more(big):
    """A limit on the size of files stands for a full disk: both end a write with an error."""
    server, sha256 = big
    server.usual = Answer()
    limited = after("resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))", server, sha256)
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "grows larger than is allowed" in done.stderr
    done = flowers("download", "dataset", server.url("/big.tar"), "--sha256", sha256)
    assert done.code == 0
    assert "1.0 MB of it earlier" in done.err


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that not even root can write to")
def test_a_folder_that_cannot_be_written_to(run, server, monkeypatch):
    monkeypatch.setenv("FLOWERS_HOME", "/sys/kernel/flowers")
    done = run("download", "dataset", server.url(PATH))
    assert done.code == 1
    assert "cannot be written to" in done.err
    assert "FLOWERS_HOME=DIR" in done.err


def test_a_file_in_place_of_a_folder(run, server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path / "file"))
    done = run("download", "dataset", server.url(PATH))
    assert done.code == 1
    assert "on the way is a file" in done.err


# The named sources.


def numbered(tmp_path, pattern, count):
    """Return an archive of Oxford's kind; one picture will do for all."""
    picture = tmp_path / "picture.jpg"
    write_picture(picture, (200, 100, 0), 1)
    content = picture.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(1, count + 1):
            member = tarfile.TarInfo("jpg/" + pattern % number)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        tar.addfile(tarfile.TarInfo("jpg/files.txt"))
    return buffer.getvalue()


def test_oxford17_is_sorted_into_its_classes(run, tmp_path):
    content = numbered(tmp_path, "image_%04d.jpg", 1360)
    sha256 = hashlib.sha256(content).hexdigest()
    with archive_server({"/17flowers.tgz": content}) as server:
        done = run(
            "download", "dataset", "oxford17", "--url", server.url("/17flowers.tgz"), "--sha256", sha256, "--json"
        )
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert len(summary["counts"]) == 17
    assert set(summary["counts"].values()) == {80}
    # As in the copies that people have sorted by hand.
    for number, name in ((1, "daffodil"), (241, "bluebell"), (320, "bluebell"), (640, "tulip"), (1360, "pansy")):
        assert (Path(summary["path"]) / name / f"image_{number:04}.jpg").is_file()


def test_oxford102_takes_no_labels_but_the_right_ones(run, tmp_path, own_home):
    content = numbered(tmp_path, "image_%05d.jpg", 3)
    sha256 = hashlib.sha256(content).hexdigest()
    with archive_server({"/102flowers.tgz": content, "/imagelabels.mat": bytes(502)}) as server:
        done = run("download", "dataset", "oxford102", "--url", server.url("/102flowers.tgz"), "--sha256", sha256)
    assert done.code == 1
    assert "imagelabels.mat has the sha256" in done.err
    assert visible(own_home / "datasets") == []


def test_oxford102_is_sorted_by_its_labels(tmp_path):
    savemat = pytest.importorskip("scipy.io", reason="writes the labels file").savemat
    from flowercli.data.archive import extract
    from flowercli.data.oxford import NAMES_102, arrange_102, read_mat

    labels = [1 + number % 102 for number in range(300)]
    (tmp_path / "archive").write_bytes(numbered(tmp_path, "image_%05d.jpg", len(labels)))
    (tmp_path / "unpacked").mkdir()
    extract(tmp_path / "archive", tmp_path / "unpacked")
    for kind, compressed in (("float64", False), ("uint8", True)):
        import numpy as np

        savemat(tmp_path / "imagelabels.mat", {"labels": np.array([labels], kind)}, do_compression=compressed)
        assert read_mat((tmp_path / "imagelabels.mat").read_bytes()).tolist() == labels
    folder = arrange_102(tmp_path / "unpacked", tmp_path)
    assert len(visible(folder)) == 102
    assert (folder / NAMES_102[72] / "image_00073.jpg").is_file()
    assert NAMES_102[72] == "water_lily"


def test_kaggle_through_its_own_client(run, tmp_path, monkeypatch):
    """Its client has one local address, this port. Not covered: logins, and Kaggle's own redirection to its storage."""
    pytest.importorskip("kagglehub", reason="needs the extra 'data'")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    photos = write_dataset(tmp_path / "photos", photos=2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in photos.rglob("*.jpg"):
            archive.write(path, Path("flower_photos", path.relative_to(photos)))
    try:
        context = archive_server({"/signed.zip": buffer.getvalue()}, port=7777)
        server = context.__enter__()
    except OSError:
        pytest.skip("port 7777 is taken")
    try:
        lead = Answer(status=302, headers={"Location": server.url("/signed.zip")})
        # The redirection is followed once by Kaggle's client; then it is asked for by ours, cut, and asked for again.
        server.plan = [lead, Answer(), Answer(cut_after=3000), lead, Answer()]
        done = run("download", "dataset", "kaggle")
        assert done.code == 0, done.err
        assert done.out.strip().endswith("datasets/flowers-dataset")
        assert visible(done.out.strip()) == CLASSES
        assert server.requests[0][0].endswith("DatasetApiService/DownloadDataset")
        assert server.requests[-1] == ("/signed.zip", "bytes=3000-")
        (entry,) = json.loads(run("download", "--list", "--json").out)["installed"]
        assert (entry["revision"], entry["sha256"]) == ("1", hashlib.sha256(buffer.getvalue()).hexdigest())
        server.usual = Answer(status=403)
        refused = run("download", "dataset", "kaggle", "--name", "again")
        assert refused.code == 1
        assert "Kaggle refuses access (403)" in refused.err
    finally:
        context.__exit__(None, None, None)


@pytest.fixture
def s3(monkeypatch, tmp_path):
    """Start an S3 server, and return a client of it."""
    threaded = pytest.importorskip("moto.server", reason="needs moto").ThreadedMotoServer
    boto3 = pytest.importorskip("boto3", reason="needs the extra 'data'")
    server = threaded(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield boto3.client("s3", region_name="us-east-1")
    finally:
        server.stop()


def test_an_archive_from_s3(run, s3, archive, sha256, monkeypatch):
    s3.create_bucket(Bucket="flowers")
    s3.put_object(Bucket="flowers", Key="some where/colours.tgz", Body=archive)
    url = "s3://flowers/some where/colours.tgz"
    done = run("download", "dataset", url, "--sha256", sha256)
    assert done.code == 0, done.err
    assert visible(done.out.strip()) == CLASSES
    missing = run("download", "dataset", "s3://flowers/other.tgz")
    assert (missing.code, "no such object" in missing.err) == (1, True)
    missing = run("download", "dataset", "s3://no-bucket-here/other.tgz")
    assert (missing.code, "no bucket of this name" in missing.err) == (1, True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3.put_object_acl(Bucket="flowers", Key="some where/colours.tgz", ACL="public-read")
    anonymous = run("download", "dataset", url, "--sha256", sha256, "--name", "again")
    assert anonymous.code == 0, anonymous.err
