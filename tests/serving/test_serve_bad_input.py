"""``flowers serve`` and what strangers send: the right status, a small answer, a server that lives and stays small."""

from __future__ import annotations

import base64
import concurrent.futures
import io
import json
import socket
import struct
import time
import zlib
from functools import cache

import pytest
from PIL import Image
from support.serve_server import BOUNDARY, FORM, JPEG, JSON, PICTURE, form, serving

MEBI = 2**20
UPLOAD_SECONDS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    limits = ("--max-body", 8, "--max-held", 20, "--upload-seconds", UPLOAD_SECONDS, "--max-images", 8)
    # Each thread keeps some memory: a machine of many cores would need a higher bound than the test has.
    with serving(tmp_path_factory.mktemp("serve"), *limits, FLOWERS_THREADS="2") as running:
        running.memory_when_ready = running.memory()
        yield running
        # Whatever was sent, it still answers, and was not at fault.
        assert running.classify(PICTURE).json["predicted_class"] == "rose"
        assert '"level": "error"' not in running.text
        assert '"status": 500' not in running.text


@cache
def bomb(side=14_200):
    """Return a PNG of 200 megapixels in 200 kB."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((side + 1) * side), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encoded(picture=PICTURE):
    return base64.b64encode(picture).decode()


@cache
def large_jpeg():
    buffer = io.BytesIO()
    Image.new("RGB", (8000, 7000), "green").save(buffer, "JPEG", progressive=True, quality=30)
    return buffer.getvalue()


def damaged_png():
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[100:200] = bytes(100)
    return bytes(content)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"no picture", 422, "not_an_image"),
        (PICTURE[: len(PICTURE) // 2], 422, "truncated"),
        (b"", 422, "empty"),
        (bomb, 413, "too_large"),
        (large_jpeg, 413, "too_large"),
        (POSTSCRIPT, 422, "not_an_image"),
        (damaged_png, 422, "unreadable"),
        (bytes(8 * MEBI + 1), 413, "body_too_large"),
    ],
    ids=["text", "truncated", "empty", "bomb", "progressive", "postscript", "damaged", "body"],
)
def test_bytes_that_are_no_picture(server, body, status, code):
    body = body() if callable(body) else body
    assert server.classify(body).problem() == (status, code)
    if len(body) < 8 * MEBI:
        assert server.classify(form(("x.jpg", body)), FORM).problem() == (status, code)
        assert server.classify(json.dumps({"images": [encoded(body)]}), JSON).problem() == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_json"),
        (b"\xff\xfe{}", 400, "bad_json"),
        (b'{"images": NaN}', 400, "bad_json"),
        (b"[" * 5000, 422, "too_many_values"),
        (b'{"a":' * 8 + b"1" + b"}" * 8, 422, "unknown_field"),
        (b'"' + b"x" * MEBI + b'"', 422, "bad_json"),
        (b"[]", 422, "bad_json"),
        (b"{}", 422, "bad_json"),
        (b'{"images": []}', 422, "bad_json"),
        (b'{"images": [1]}', 422, "bad_json"),
        (b'{"images": "eA=="}', 422, "bad_json"),
        (b'{"images": ["eA=="], "top_k": 1}', 422, "unknown_field"),
        (b'{"images": ["eA="]}', 422, "not_base64"),
        (b'{"images": ["e A=="]}', 422, "not_base64"),
        ('{"images": ["\u00e9A=="]}'.encode(), 422, "not_base64"),
        (json.dumps({"images": ["eA=="] * 9}).encode(), 422, "too_many_images"),
        (json.dumps({"images": ["eA=="] * 1000}).encode(), 422, "too_many_values"),
    ],
)
def test_json_that_is_not_asked_for(server, body, status, code):
    assert server.classify(body, JSON).problem() == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_form"),
        (b"no form", 400, "bad_form"),
        (form(("a", PICTURE))[:-20], 400, "bad_form"),
        (f"--{BOUNDARY}--\r\n".encode(), 422, "no_picture"),
        (form(("a", PICTURE), field="picture"), 422, "unknown_field"),
        (form(*[("a", b"x")] * 9), 422, "too_many_images"),
        (form(*[("a", b"x")] * 1000), 422, "too_many_images"),
        (form(("a" * 100_000, PICTURE)), 400, "bad_form"),
    ],
)
def test_forms_that_cannot_be_read(server, body, status, code):
    assert server.classify(body, FORM).problem() == (status, code)


def test_other_types_methods_paths_and_queries(server):
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "video/mp4"):
        reply = server.classify(PICTURE, {"Content-Type": kind})
        assert reply.problem() == (415, "unsupported_type")
    assert server.classify(b"x", {"Content-Type": "multipart/form-data"}).problem() == (400, "bad_form")
    assert server.classify(PICTURE, {**JPEG, "Content-Encoding": "gzip"}).problem() == (415, "unsupported_encoding")
    reply = server.ask("GET", "/v1/classify")
    assert reply.problem() == (405, "method_not_allowed")
    assert reply.headers["Allow"] == "POST"
    for path in ("/..%2f..%2fetc/passwd", "/../../etc/passwd", "//etc/passwd", "/v1/classify/", "/%00"):
        assert server.ask("GET", path).problem() == (404, "not_found")
    for query in ("?top_k=-1", "?top_k=x", "?top_k=1&top_k=2", "?top_k=", "?topk=1", "?top_k=%EF%BC%91"):
        assert server.classify(PICTURE, query=query).problem()[0] == 422
    for only in ("", ",", "rose&only=daisy", "rose;daisy", "rose%00", "rose&top_k=", "%F0%9F%8C%B9" * 900):
        assert server.classify(PICTURE, query=f"?only={only}").problem()[0] == 422


PIXELS = b'{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [%s], "data": [%s]}], "outputs": [%s]}'


@pytest.mark.parametrize(
    ("shape", "data", "outputs"),
    [
        # In an array of numpy each text would take the room of the longest.
        (b"1, 224, 192, 3", b'"' + b"a" * 1_000_000 + b'", ' + b", ".join([b'""'] * 300), b""),
        (b"1, 224, 192, 3", b", ".join([b'""'] * 100_000), b""),
        (b"1, 224, 192, 3", b", ".join([b"{}"] * 100_000), b""),
        (b", ".join([b"1"] * 1_000_000), b"1", b""),
        (b"1, 224, 192, 3", b"1", b", ".join([b'{"name": "known"}'] * 100_000)),
        (b"1, 224, 192, 3", b"[" * 500 + b"]" * 500, b""),
        (b"1, 224, 192, 3", b", ".join([b"1.5"] * 1_000_000), b""),
    ],
    ids=["one long text", "texts", "objects", "shape", "outputs", "depth", "fractions"],
)
def test_json_of_other_kinds_than_numbers_costs_little(server, shape, data, outputs):
    before = server.memory()
    reply = server.ask("POST", "/v2/models/flowers/infer", PIXELS % (shape, data, outputs), JSON)
    assert reply.status == 422
    assert server.memory() < before + 100


def test_a_length_of_many_digits_is_refused(server):
    headers = JSON | {"Inference-Header-Content-Length": "1" * 5000}
    assert server.ask("POST", "/v2/models/flowers/infer", b"{}", headers).problem() == (400, "bad_request")


def test_names_that_look_like_paths_are_only_names(server):
    names = {"../../etc/passwd": "passwd", r"C:\pictures\rose.jpg": "rose.jpg", "/": "", "a\x00b": "a\x00b"}
    for given, shown in names.items():
        reply = server.classify(form((given, PICTURE)), FORM)
        assert reply.json["results"][0]["path"] == shown
    long = server.classify(form(("x" * 3000 + ".jpg", PICTURE)), FORM)
    assert len(long.json["results"][0]["path"]) == 255


def raw(server, data, seconds=5.0):
    """Send bytes and return all that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_what_is_not_http(server):
    received = raw(server, b"\x16\x03\x01 hello\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in received


def test_a_slow_upload_is_ended_while_others_are_answered(server):
    head = (
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n"
    )
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        slow = [pool.submit(raw, server, head + b"x" * 100, 10) for _ in range(40)]
        while any(not future.done() for future in slow):
            asked = time.monotonic()
            assert server.classify(PICTURE).status == 200
            assert time.monotonic() - asked < 5
        assert time.monotonic() - started < UPLOAD_SECONDS + 20
        for future in slow:
            assert future.result().startswith(b"HTTP/1.1 408 ")


def test_headers_that_never_end_are_ended(server):
    started = time.monotonic()
    assert raw(server, b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n", 10).startswith(b"HTTP/1.1 408 ")
    assert raw(server, b"", 10).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 2 * UPLOAD_SECONDS + 4


def test_bodies_are_not_taken_beyond_what_all_may_hold(server):
    head = (
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 8000000\r\n\r\n"
    )
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(raw, server, head + bytes(7_900_000), 20) for _ in range(4)]
        firsts = sorted(future.result()[9:12] for future in sent)
    assert firsts == [b"408", b"408", b"503", b"503"]
    assert server.classify(PICTURE).status == 200


def test_a_telephone_s_two_hundred_megapixels_are_answered(server):
    buffer = io.BytesIO()
    Image.new("L", (16_000, 12_400), 90).save(buffer, "JPEG", quality=30)
    assert len(buffer.getvalue()) < 8 * MEBI
    assert "predicted_class" in server.classify(buffer.getvalue()).json


def test_memory_is_back_where_it_was(server):
    def load():
        for body in (bomb(), large_jpeg(), bytes(8 * MEBI - 100), PICTURE[:9000]):
            server.classify(body)
            server.classify(json.dumps({"images": [encoded(body[: 5 * MEBI])]}), JSON)
        server.classify(b'{"images": [' + b'"", ' * MEBI + b'""]}', JSON)

    for _ in range(7):
        load()
    # What the last request held is let go just after its answer.
    deadline = time.monotonic() + 10
    while (used := server.memory()) >= server.memory_when_ready + 20 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert used < server.memory_when_ready + 20
