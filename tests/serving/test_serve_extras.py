"""What other parts of the program add to the service: a page, and observers of the answers."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import ROOT, SAMPLES
from PIL import Image
from support.serve_server import HTML, JPEG, PICTURE, Server

KEYED = {**JPEG, "X-API-Key": "secret"}


@contextmanager
def running(folder, workers=1):
    log = folder / "log"
    line = [sys.executable, "-W", "error", "-m", "support.serve_extras", str(folder), str(workers)]
    with log.open("wb") as stream, subprocess.Popen(line, stderr=stream, cwd=ROOT / "tests") as process:
        server = Server(process, log)
        try:
            server.wait_until_ready()
            yield server
        finally:
            process.terminate()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_page_is_kept_to_itself_and_needs_no_key(tmp_path, workers):
    with running(tmp_path, workers) as server:
        reply = server.ask("GET", "/")
        assert (reply.status, reply.body) == (200, HTML)
        policy = reply.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; ")
        assert "img-src 'self' blob: data:" in policy
        assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert reply.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert server.ask("GET", "/vendor/ort.wasm").headers["Content-Type"] == "application/wasm"
        assert "rose" in server.ask("GET", "/model/names.json").json
        etag = reply.headers["ETag"]
        again = server.ask("GET", "/", headers={"If-None-Match": etag})
        assert (again.status, again.body) == (304, b"")
        assert server.ask("POST", "/").problem() == (405, "method_not_allowed")
        assert server.ask("GET", "/vendor/other").problem() == (401, "no_key")
        assert server.ask("GET", "/vendor/../vendor/ort.wasm", headers=KEYED).status == 404
        assert server.classify(PICTURE).problem() == (401, "no_key")
        # With a page there, the addresses of the service answer as before.
        assert server.ask("GET", "/v1/classify", headers=KEYED).problem() == (405, "method_not_allowed")


def test_the_page_is_packed_for_those_who_take_gzip(tmp_path):
    with running(tmp_path) as server:
        plain = server.ask("GET", "/page.css")
        for takes in ("gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.5", "*"):
            packed = server.ask("GET", "/page.css", headers={"Accept-Encoding": takes})
            assert packed.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(packed.body) == plain.body
            assert len(packed.body) < len(plain.body)
        for refuses in ("", "identity", "br", "gzip;q=0, *", "gzip; q=0.000", "xgzip"):
            reply = server.ask("GET", "/page.css", headers={"Accept-Encoding": refuses})
            assert (reply.body, reply.headers["Content-Encoding"]) == (plain.body, None)
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        assert plain.headers["ETag"] != packed.headers["ETag"]
        again = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}
        assert server.ask("GET", "/page.css", headers=again).status == 304
        # What gzip would not make smaller is sent as it is.
        small = server.ask("GET", "/vendor/ort.wasm", headers={"Accept-Encoding": "gzip"})
        assert (small.body, small.headers["Content-Encoding"]) == (b"\0asm", None)


def turned():
    """Return a JPEG of 60 by 40 pixels that is to be shown turned."""
    image = Image.new("RGB", (60, 40), (200, 100, 30))
    exif = image.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_observers_see_every_answer_and_cannot_harm(tmp_path):
    with running(tmp_path) as server:
        for picture in (PICTURE, (SAMPLES / "tulip.jpg").read_bytes(), b"none", turned()):
            server.classify(picture, {**KEYED, "X-Request-ID": "garden-7"})
        assert server.end() == 0
    rose, odd = json.loads((tmp_path / "observed.json").read_text())
    with Image.open(SAMPLES / "rose.jpg") as image:
        assert rose[:3] == ["rose", *image.size]
    assert odd[1:3] == [40, 60]
    assert odd[3] == pytest.approx(np.mean([200, 100, 30]), abs=2)
    assert rose[4] == odd[4] == "garden-7"
    assert "An observer failed." in server.text
    assert "no tulips" in server.text
