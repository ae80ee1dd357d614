"""``flowers serve`` while strangers keep its connections, its room or its threads, and a good client goes on asking."""

from __future__ import annotations

import asyncio
import contextlib
import io
import resource
import socket
import threading
import time

import pytest
from PIL import Image
from support.serve_server import FORM, PICTURE, form, serving
from support.waiting import wait_until_worked

from flowercli.errors import ImageError
from flowercli.inference.preprocess import load_picture
from flowercli.serving.http import workers
from flowercli.serving.http.problems import Problem
from flowercli.serving.http.service import Service, open_classifier
from flowercli.serving.http.settings import Limits, Settings

MEBI = 2**20
HEAD = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
# Five megabytes of an answer.
MODEL = b"GET /model/model.int8.onnx HTTP/1.1\r\nHost: localhost\r\n\r\n"
CONNECTIONS = 64
# What strangers can hold up takes ten seconds or more; a machine that is busy with something else, one or two.
SOON = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    options = ("--max-connections", CONNECTIONS, "--max-held", 64, "--no-access-log")
    with serving(tmp_path_factory.mktemp("serve"), *options) as running:
        yield running


@pytest.fixture
def strangers(server):
    """Return a function that opens a connection, sends bytes and keeps it."""
    with contextlib.ExitStack() as stack:

        def connect(data: bytes) -> socket.socket:
            connection = stack.enter_context(socket.socket())
            # So that little of an answer fits into what the system keeps.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(30)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(data)
            return connection

        yield connect


def worst_seconds(server, seconds: float) -> float:
    """Ask ten times a second and return the longest time that an answer took."""
    longest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        assert server.classify(PICTURE).status == 200
        longest = max(longest, time.monotonic() - started)
        time.sleep(0.1)
    return longest


def received(connection: socket.socket) -> bytes:
    """Return all that comes until the connection ends."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            content += chunk
    return content


def test_clients_that_never_read_make_room(server, strangers):
    kept = [strangers(MODEL * 2) for _ in range(CONNECTIONS)]
    assert worst_seconds(server, 3) < SOON
    assert len(kept) == CONNECTIONS


def test_a_client_that_never_reads_is_ended(strangers):
    connection = strangers(MODEL)
    time.sleep(14)
    content = received(connection)
    assert b"200 OK" in content
    assert len(content) < int(content.partition(b"content-length: ")[2].split(b"\r\n")[0])


def test_a_client_that_sends_a_body_gives_way_last(strangers):
    sending = strangers(HEAD + f"Connection: close\r\nContent-Length: {len(PICTURE)}\r\n\r\n".encode() + PICTURE[:1000])
    kept = [strangers(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ") for _ in range(2 * CONNECTIONS)]
    sending.sendall(PICTURE[1000:])
    assert received(sending).startswith(b"HTTP/1.1 200 ")
    assert len(kept) == 2 * CONNECTIONS


def test_announced_bytes_take_no_room(server, strangers):
    before = server.memory()
    for _ in range(16):
        strangers(HEAD + b"Content-Length: 33554432\r\n\r\nx")
    assert worst_seconds(server, 2) < SOON
    assert server.memory() < before + 30


def test_bodies_that_stop_give_way_to_those_that_hold_less(server, strangers):
    head = HEAD + f"Content-Length: {32 * MEBI}\r\n\r\n".encode()
    # One byte less than there is room for.
    kept = [strangers(head + bytes(32 * MEBI - missing)) for missing in (1, 2)]
    assert worst_seconds(server, 1) < SOON
    assert sorted(received(connection)[9:12] for connection in kept) == [b"408", b"503"]


def test_a_body_that_stops_is_ended_before_its_time(strangers):
    started = time.monotonic()
    assert received(strangers(HEAD + b"Content-Length: 2000\r\n\r\n" + bytes(1000))).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "before",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"GET /" + b"x" * 60000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: ",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;extension=",
    ],
    ids=["header", "address", "trailer", "extension"],
)
def test_headers_have_a_limit(server, strangers, before):
    used = server.memory()
    connection = strangers(before)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 64 * MEBI:
            connection.sendall(b"x" * 2**16)
            sent += 2**16
    assert sent < 16 * MEBI
    assert server.memory() < used + 30
    assert server.classify(PICTURE).status == 200


def test_a_client_that_offers_another_protocol_keeps_its_body(strangers):
    head = HEAD + f"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: {len(PICTURE)}\r\n\r\n".encode()
    for pieces in ((head, PICTURE), (head + PICTURE,)):
        connection = strangers(pieces[0])
        for piece in pieces[1:]:
            time.sleep(0.1)
            connection.sendall(piece)
        assert received(connection).startswith(b"HTTP/1.1 200 ")


def test_a_large_body_leaves_no_room_for_headers(server, strangers):
    connection = strangers(HEAD + b"Origin: x\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000))
    assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")
    with contextlib.suppress(ConnectionError):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        for _ in range(6):
            time.sleep(0.05)
            connection.sendall(b"x" * 2**16)
        connection.sendall(b"\r\n\r\n")
    assert b" 200 OK" not in received(connection)
    assert server.classify(PICTURE).status == 200


def test_requests_that_wait_for_answers_have_a_limit(server, strangers):
    used = server.memory()
    kept = [strangers(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5000) for _ in range(8)]
    assert worst_seconds(server, 1) < SOON
    assert server.memory() < used + 30
    assert len(kept) == 8


def test_small_pieces_of_a_body_are_taken(strangers):
    pieces = b"".join(b"20\r\n" + PICTURE[at : at + 32] + b"\r\n" for at in range(0, len(PICTURE) // 32 * 32, 32))
    connection = strangers(HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
    # The last bytes of a JPEG are missing.
    assert received(connection).startswith(b"HTTP/1.1 422 ")


@pytest.fixture(scope="module")
def slow_picture():
    """Return a picture within the limits that takes about a third of a second to decode."""
    buffer = io.BytesIO()
    noise = Image.effect_noise((700, 700), 90).resize((4600, 4600), Image.Resampling.NEAREST)
    noise.convert("RGB").save(buffer, "WEBP", lossless=True, method=0)
    return buffer.getvalue()


@pytest.fixture
def stuck(monkeypatch):
    """Return a picture that holds its thread until the end of the test, as no decoder here is known to do."""
    end = threading.Event()

    def load(source, *arguments):
        if source == b"stuck":
            end.wait()
        return load_picture(source, *arguments)

    monkeypatch.setattr(workers, "load_picture", load)
    yield b"stuck"
    end.set()


@pytest.fixture
def service(stuck):
    settings = Settings(threads=1, limits=Limits(wait=0.5, picture=1.0), drain_seconds=0.1)
    running = Service(open_classifier(settings), settings)
    running.start()
    yield running, stuck
    running.stop()


def test_a_thread_that_a_picture_holds_is_replaced(service, caplog):
    running, stuck = service

    async def ask(picture):
        return await running.workers.answer([picture], running.classifier)

    async def ask_all():
        held = asyncio.create_task(ask(stuck))
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="not answered in") as late:
            await ask(PICTURE)
        with pytest.raises(Problem, match="not answered in"):
            await held
        assert (late.value.status, late.value.code) == (503, "too_slow")
        assert "another takes its place" in caplog.text
        assert not running.workers.all_stuck()
        return await ask(PICTURE)

    assert not isinstance(asyncio.run(ask_all())[0], ImageError)


def test_no_more_threads_are_left_behind_than_may_be(service):
    running, stuck = service

    async def ask_all():
        for _ in range(workers.MOST_LEFT_BEHIND + 1):
            assert not running.workers.all_stuck()
            with pytest.raises(Problem):
                await running.workers.answer([stuck], running.classifier)

    asyncio.run(ask_all())
    assert running.workers.all_stuck()


def asks_about(server, pictures: bytes) -> socket.socket:
    """Open a connection and ask about a form of pictures, but for its last byte."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\n"
    connection.sendall(f"{head}Content-Length: {len(pictures)}\r\n\r\n".encode() + pictures[:-1])
    return connection


def test_a_client_that_waits_for_its_answer_gives_way_to_none(tmp_path, slow_picture):
    pictures = form(*(("slow.webp", slow_picture) for _ in range(8)))
    with serving(tmp_path, "--max-connections", 4, "--drain-seconds", 0.5) as server, contextlib.ExitStack() as stack:
        for connection in [stack.enter_context(asks_about(server, pictures)) for _ in range(4)]:
            connection.sendall(pictures[-1:])
        wait_until_worked(server.process.pid, 1)
        full = server.ask("GET", "/v2")
        assert full.problem() == (503, "too_many_connections")
        assert full.headers["Retry-After"] == "1"


def test_the_end_does_not_wait_for_pictures(tmp_path, slow_picture):
    # Seconds of work, as it is taken one after the other.
    pictures = form(*(("slow.webp", slow_picture) for _ in range(64)))
    options = ("--drain-seconds", 0.5, "--max-body", 96)
    with serving(tmp_path, *options) as server, asks_about(server, pictures) as connection:
        connection.sendall(pictures[-1:])
        wait_until_worked(server.process.pid, 1)
        started = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - started < 9
        # Whoever waits is told, and the log has nothing that looks like a fault.
        answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"application/problem+json" in answer
        assert "Traceback" not in server.text


def test_many_connections_at_once(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    kept = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(300)]
    assert worst_seconds(server, 2) < SOON
    for connection in kept:
        connection.close()
