"""What a server, what is between, and the disk can do to a download: each has its message."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from support.archive_server import Answer, archive_server
from support.transfers import PATH, Listener, raw, visible

from flowercli.errors import DownloadError, ImageError
from flowercli.inference import picture_url
from flowercli.transfer.contract import Patience, Wanted
from flowercli.transfer.fetch import fetch

pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.network]


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


def test_too_little_space_is_told_before(run, server):
    server.usual = Answer(longer=10**17)
    done = run("download", "dataset", server.url(PATH))
    assert done.code == 1
    assert "MB are needed" in done.err
    assert "Free some space" in done.err


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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_body_of_a_redirect_is_not_read(status, tmp_path):
    head = b"HTTP/1.1 %d Go\r\nLocation: /there\r\nTransfer-Encoding: chunked\r\n\r\n" % status
    with raw(head, b"10000\r\n" + bytes(2**16) + b"\r\n") as (url, sent):
        fetch(Wanted(url), tmp_path / "file", Listener(), patience=Patience(retries=0))
        assert (tmp_path / "file").read_bytes() == b"ok"
        assert picture_url.fetch(url) == b"ok"
        assert len(sent) < 2**10


@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1:99999999/x",
        "http://[::1/x",
        "http://\u00e2\u20ac.com/x",
        "http://a..b/",
        f"http://{'a' * 70}.com/",
    ],
)
def test_a_redirect_to_what_is_no_address_is_the_servers_fault(where, run):
    head = f"HTTP/1.1 302 Go\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()
    with raw(head) as (url, _):
        done = run("download", "dataset", f"{url}.tgz", "--retries", "0")
        with pytest.raises(ImageError, match="redirects to what is no address"):
            picture_url.fetch(url)
    assert done.code == 1
    assert "redirects to what is no address" in done.err


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"206 P\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nabcde", "was asked for the whole"),
        (b"206 P\r\nContent-Length: 5\r\n\r\nabcde", "was asked for the whole"),
        (b"206 P\r\nContent-Range: bytes 0-9/" + b"9" * 5000 + b"\r\n\r\nabcde", "was asked for the whole"),
        (b"200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc", "a length"),
        (b"200 OK\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\nabc", "a length"),
        (b"200 OK\r\nContent-Length: -5\r\n\r\nabc", "a length"),
        (b"503 X\r\nRetry-After: " + b"9" * 400 + b"\r\n\r\n", "asks to wait 1000000000 s"),
        (b"503 X\r\nRetry-After: Mon, 01 Jan 10000 00:00:00 GMT\r\n\r\n", "fails (503 X)"),
        (b"503 X\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 -0000\r\n\r\n", "fails (503 X)"),
        (b"503 X\r\nRetry-After: Mon, 01 Jan 2024 00:00:00 +99999999\r\n\r\n", "fails (503 X)"),
    ],
    ids=[
        *("part", "part of nothing", "giant part", "giant length", "long length", "negative length"),
        *("giant wait", "giant year", "last year", "giant zone"),
    ],
)
def test_an_answer_that_makes_no_sense_is_asked_for_once_and_told(head, words, run):
    with raw(b"HTTP/1.1 " + head) as (url, sent):
        done = run("download", "dataset", f"{url}.tgz", "--retries", "0")
    assert done.code == 1
    assert words in done.err
    assert len(sent) == 1


SLOW = {
    "body": (b"HTTP/1.1 200 OK\r\nETag: a\r\n\r\n", b"x", 0.05),
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "continue fast": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X: b\r\n" * 100, 0),
    "size of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", 0.05),
}


@pytest.mark.parametrize("kind", SLOW)
def test_what_drips_comes_to_an_end(kind, tmp_path, monkeypatch):
    with raw(*SLOW[kind]) as (url, _):
        with pytest.raises(DownloadError, match="sends too slowly"):
            fetch(Wanted(url), tmp_path / "file", Listener(), patience=Patience(retries=0, timeout=0.3, slow=0.2))
        assert not (tmp_path / "file").exists()
        monkeypatch.setattr(picture_url, "TIMEOUT_SECONDS", 0.5)
        with pytest.raises(ImageError, match=r"not come in 0\.5 seconds"):
            picture_url.fetch(url)
        time.sleep(0.1)
        names = {thread.name for thread in threading.enumerate()}
        assert "clock" not in names


def test_a_slow_line_is_patiently_waited_for(tmp_path):
    """Each span of time brings something, and all of it takes far longer than one."""
    with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", bytes(1000), 0.02) as (url, _):
        fetch(Wanted(url), tmp_path / "file", Listener(), patience=Patience(retries=0, timeout=0.2, slow=0.1))
    assert (tmp_path / "file").stat().st_size == 60000


def test_a_byte_for_each_connection_is_no_progress(bare, tmp_path):
    bare.usual = Answer(cut_after=1)
    with pytest.raises(DownloadError, match="cut after"):
        fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=Patience(retries=3, longest_wait=0.02))
    assert len(bare.requests) == 4
