"""``flowers serve``: how it ends, what it survives, and what it does with more than it can do."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import command, default_interrupt
from support.serve_server import JPEG, PICTURE, form, serving
from support.waiting import wait_until

CLIENTS = 8


def keep_asking(server, stop, answers):
    """Ask on one connection after the other, each for as long as the server keeps it, until it listens no more."""
    while not stop.is_set():
        connection = server.connect()
        try:
            connection.connect()
        except OSError:
            return
        while not stop.is_set():
            try:
                connection.request("POST", "/v1/classify", PICTURE, JPEG)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                answers.append(repr(error))
                break
            answers.append(response.status)
            if response.headers["Connection"] == "close":
                break
        connection.close()


@pytest.fixture
def under_load():
    """Return a function that loads a server with clients and returns the list of what they get."""
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        answers: list[object] = []

        def start(server):
            for _ in range(CLIENTS):
                pool.submit(keep_asking, server, stop, answers)
            while len(answers) < 2 * CLIENTS:
                time.sleep(0.01)
            return answers

        yield start
        stop.set()


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_loses_no_request(tmp_path, under_load, workers):
    with serving(tmp_path, "--workers", workers, "--no-access-log") as server:
        answers = under_load(server)
        assert server.end(signal.SIGTERM) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)
    assert set(answers) == {200}
    assert "Stopped." in server.text
    assert "Traceback" not in server.text


def test_a_request_under_way_is_answered_after_ready_is_taken_back(tmp_path):
    with serving(tmp_path) as server:
        probe, upload = server.connect(), server.connect()
        probe.request("GET", "/v2/health/ready")
        assert probe.getresponse().read() == b'{"name":"flowers","ready":true}'
        upload.putrequest("POST", "/v1/classify")
        for name, value in (*JPEG.items(), ("Content-Length", str(len(PICTURE)))):
            upload.putheader(name, value)
        upload.endheaders(PICTURE[:1000])
        wait_until(lambda: b"flowers_in_progress 2.0" in server.ask("GET", "/metrics").body)
        server.process.send_signal(signal.SIGTERM)

        def asked():
            probe.request("GET", "/v2/health/ready")
            response = probe.getresponse()
            if response.status == 200:
                response.read()
                return None
            return response

        response = next(filter(None, iter(asked, ())))
        assert response.status == 503
        assert response.headers["Connection"] == "close"
        response.read()
        upload.send(PICTURE[1000:])
        response = upload.getresponse()
        assert response.status == 200
        assert b"rose" in response.read()
        for connection in (probe, upload):
            connection.close()
        assert server.process.wait(60) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_it_in_order(tmp_path, workers):
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command("serve", "--port", "0", "--workers", workers),
            stderr=stream, start_new_session=True, preexec_fn=default_interrupt,  # noqa: PLW1509
        )  # fmt: skip
    while "Ready" not in log.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    # As a terminal does: to all processes of the group.
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    assert log.read_text().splitlines()[-1] == "Stopped."
    assert "Traceback" not in log.read_text()


def children(process):
    """Return the process ids of the workers."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        command_line = (status.parent / "cmdline").read_bytes()
        if re.search(rf"^PPid:\s+{process.pid}$", text, re.MULTILINE) and b"spawn_main" in command_line:
            found.append(int(status.parent.name))
    return found


def test_a_killed_worker_is_replaced_and_the_others_answer(tmp_path):
    from prometheus_client.parser import text_string_to_metric_families

    with serving(tmp_path, "--workers", 2) as server:
        assert [server.classify(PICTURE).status for _ in range(10)] == [200] * 10
        first = children(server.process)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: first[0] not in children(server.process))
        assert [server.classify(PICTURE).status for _ in range(10)] == [200] * 10
        wait_until(lambda: len(set(children(server.process)) - {first[0]}) == 2)
        assert "ended with -9; another takes its place" in server.text
        families = text_string_to_metric_families(server.ask("GET", "/metrics").body.decode())
        values = {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}
        # What the dead one counted counts, and what it was doing does not.
        assert values["flowers_images_total", "", "answered"] == 20
        assert values["flowers_in_progress",] == 1
        assert values["flowers_runtime_info", "CPUExecutionProvider", "cpu", "model.int8.onnx"] == 1
        assert server.end() == 0
    assert children(server.process) == []


def test_the_workers_end_with_their_supervisor(tmp_path):
    with serving(tmp_path, "--workers", 2) as server:
        workers = children(server.process)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_what_is_too_much_is_refused_and_the_rest_is_answered(tmp_path):
    with serving(tmp_path, "--max-queue", 2, "--max-images", 2) as server:
        body = form(*[("a", PICTURE)] * 2)
        headers = {"Content-Type": "multipart/form-data; boundary=boundary-of-the-tests"}
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda _: server.classify(body, headers), range(64)))
        refused = [reply for reply in replies if reply.status != 200]
        assert 0 < len(refused) < 64
        for reply in refused:
            assert reply.problem() == (429, "too_busy")
            assert int(reply.headers["Retry-After"]) >= 1
        assert server.classify(PICTURE).status == 200
        figures = server.ask("GET", "/metrics").body.decode()
        assert f'flowers_shed_total{{status="429"}} {len(refused)}.0' in figures


def test_a_stopped_worker_does_not_hold_the_end(tmp_path):
    with serving(tmp_path, "--workers", 2, "--drain-seconds", 1) as server:
        os.kill(children(server.process)[0], signal.SIGSTOP)
        server.process.terminate()
        assert server.process.wait(60) == 0


def test_fewer_open_files_than_connections_leave_room_for_a_good_client(tmp_path):
    few = 128

    def limited(*arguments):
        return ["sh", "-c", f'ulimit -n {few}; exec "$0" "$@"', *map(str, arguments)]

    with serving(tmp_path, wrap=limited) as server, contextlib.ExitStack() as stack:
        assert "64 connections at once instead of 512" in server.log.read_text()
        for _ in range(2 * few):
            stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", server.port), 5)))
        assert server.ask("GET", "/v2/health/ready").status == 200
        assert server.ask("POST", "/v1/classify", PICTURE, JPEG).json["predicted_class"] == "rose"
