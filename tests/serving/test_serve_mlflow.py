"""``flowers serve-mlflow``: MLflow's real server, on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES, flowers
from support.scoring_server import JSON, Server

from flowercli.models import load_model
from flowercli.serving.hosts import Hosts
from flowercli.serving.mlflow import gate
from flowercli.serving.mlflow.gate import Gate

PICTURES = sorted(SAMPLES.glob("*.jpg"))
MARK = "SECRETINPUT"
MARKED = base64.b64encode(MARK.encode() * 30).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return a server with two workers, whose end is a test as well."""
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        started = Server(folder / "log", "--workers", 2)
    yield started
    assert started.stop() == 0
    # No temporary model is left, no session of onnxruntime's reports, and nothing that was sent was logged.
    assert [path.name for path in folder.rglob("*")] == ["log"]
    log = started.log.read_text()
    assert "Stopped." in log
    assert "Traceback" not in log
    assert MARKED[:40] not in log


def text_of(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def expected(run, *options: object) -> list[dict]:
    lines = run("classify", "--json", *options, *PICTURES).out.splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "path"} for line in lines]


def test_all_forms_answer_as_classify_does(server, run):
    texts = [text_of(path) for path in PICTURES]
    records = [{"image": text} for text in texts]
    answers = expected(run)
    forms = (
        {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
        {"dataframe_split": {"columns": ["image"], "index": [0, 1, 2, 3, 4], "data": [[text] for text in texts]}},
        {"dataframe_records": records},
        {"instances": records},
        {"instances": texts},
        {"inputs": {"image": texts}},
        {"inputs": texts},
    )
    for body in forms:
        assert server.predictions(body) == answers
    assert server.predictions({"inputs": {"image": texts[0]}}) == answers[:1]
    assert server.predictions({"instances": texts, "params": {"top_k": 2}}) == expected(run, "--top-k", 2)
    assert server.predictions({"instances": []}) == []


def test_bad_pictures_are_errors_in_their_place(server, run):
    whole = text_of(PICTURES[0])
    cut = base64.b64encode(PICTURES[0].read_bytes()[:2000]).decode()
    pictures = {
        whole: None,
        MARKED: "not_an_image",
        "": "empty",
        f"{whole[:-8]}\n": "not_base64",
        "é" * 10: "not_base64",
        "\ud800": "not_base64",
        cut: "truncated",
        base64.b64encode(bomb()).decode(): "too_large",
        f"data:image/jpeg;base64,{whole}": None,
        f"data:image/jpeg,{whole}": "not_base64",
        "https://example.org/rose.jpg": "not_base64",
        "A" * (44 * 2**20): "too_large",
    }
    answers = server.predictions({"instances": [{"image": text} for text in pictures]})
    assert [answer.get("error", {}).get("code") for answer in answers] == list(pictures.values())
    assert [answers[0], answers[8]] == expected(run)[:1] * 2
    assert all(len(str(answer)) < 400 for answer in answers)


def bomb() -> bytes:
    """Return a GIF of 12 gigapixels, in a few bytes."""
    return b"GIF89a" + (65535).to_bytes(2, "little") * 2 + b"\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x00;"


def test_bad_requests_get_short_answers(server):
    good = {"instances": [""]}
    split = {"columns": ["image"], "data": [[MARKED]]}
    requests = [
        (400, b"{" + MARK.encode(), JSON),
        (413, b"[" * 100_000, JSON),
        (400, MARK.encode() + b"\xff\xfe", JSON),
        (400, b"", JSON),
        (400, [MARKED], JSON),
        (400, {}, JSON),
        (400, {"instances": [MARKED], "inputs": [MARKED]}, JSON),
        (400, {"instances": [MARKED], MARK: 1}, JSON),
        (400, {"instances": MARKED}, JSON),
        (400, {"instances": [{"image": MARKED, "path": MARK}]}, JSON),
        (400, {"instances": [{"image": MARKED}, MARKED]}, JSON),
        (400, {"instances": [1, None]}, JSON),
        (400, {"inputs": {"picture": [MARKED]}}, JSON),
        (400, {"inputs": {"image": {"a": MARKED}}}, JSON),
        (400, {"dataframe_records": {"image": MARKED}}, JSON),
        (400, {"dataframe_split": [MARKED]}, JSON),
        (400, {"dataframe_split": {**split, "columns": [MARK]}}, JSON),
        (400, {"dataframe_split": {**split, "data": [[MARKED, MARKED]]}}, JSON),
        (400, {**good, "params": {MARK: 1}}, JSON),
        (400, {**good, "params": {"top_k": -1}}, JSON),
        (400, {**good, "params": {"top_k": MARK}}, JSON),
        (400, {**good, "params": {"top_k": 2**40}}, JSON),
        (413, {"instances": [MARKED] * 1000}, JSON),
        (413, {"dataframe_split": {"columns": ["image"], "data": [[MARKED]] * 257}}, JSON),
        (415, good, {"Content-Type": "text/csv"}),
        (415, good, {"Content-Type": MARK}),
        (415, good, {"Content-Type": "application/json; charset=latin-1"}),
        (415, good, {}),
    ]
    for wanted, body, headers in requests:
        status, answer = server.ask(body, headers)
        assert status == wanted, (body if len(str(body)) < 500 else "…", answer)
        assert json.loads(answer).keys() == {"error_code", "message"}
        assert MARK.encode() not in answer
        assert MARKED[:40].encode() not in answer
        assert len(answer) < 250
    assert server.ask(b"", method="GET")[0] == 405
    assert server.ask(b"", method="GET", path="/version")[0] == 200


def test_a_huge_body_is_refused_and_its_memory_given_back(server):
    before = sum(worker.memory_info().rss for worker in server.workers())
    for _ in range(2):
        status, answer = server.ask(b" " * (100 * 2**20))
        assert (status, json.loads(answer)["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
    # A length that is not announced.
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", "/invocations", iter([b" " * 2**20] * 60), JSON, encode_chunked=True)
        assert connection.getresponse().status == 413
    # MLflow alone would read this into an array of 3 GB.
    body = {"instances": ["A" * (8 * 2**20), *["AAAA"] * 99]}
    assert {answer["error"]["code"] for answer in server.predictions(body)} == {"not_an_image"}
    peaks = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{w.pid}/status").read_text()) for w in server.workers()]
    assert max(int(peak[1]) for peak in peaks if peak) < 900_000
    after = sum(worker.memory_info().rss for worker in server.workers())
    assert after - before < 150 * 2**20


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /ping HTTP/1.1\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: evil.example\r\n", 403),
        (
            b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nContent-Length: 2\r\n",
            403,
        ),
        (b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 300_000 + b"\r\n", 431),
    ],
)
def test_requests_of_other_hosts_and_pages(server, head, status):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"Connection: close\r\n\r\n{}")
        assert connection.recv(65536).startswith(b"HTTP/1.1 %d " % status)


def test_a_killed_worker_is_replaced(server):
    first, second = server.workers()
    first.kill()
    for _ in range(5):
        assert server.predictions({"instances": [text_of(PICTURES[0])]})[0]["predicted_class"] == "daisy"
    deadline = time.monotonic() + 60
    while len(server.workers()) < 2 or first in server.workers():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert second in server.workers()


def test_wrong_starts_are_told_in_a_line(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve-mlflow", "--port", port)
    assert result.code == 1
    assert result.err.splitlines() == [
        f"Error: Port {port} of 127.0.0.1 is taken by another program.", f"flowers serve-mlflow --port {port + 1}",
    ]  # fmt: skip
    for arguments, words in (
        (("--model", "nowhere"), "no model bundle at nowhere"),
        (("--model", "models:/roses/1", "--runs", tmp_path), f"no records of runs at sqlite:///{tmp_path}/mlflow.db"),
        (("--tracking", "--runs", tmp_path), f"no records of runs at sqlite:///{tmp_path}/mlflow.db"),
        (("--tracking", "--tracking-uri", "http://127.0.0.1:9"), "is a tracking server already"),
        (("--model", tmp_path), "not a flowers model"),
    ):
        (tmp_path / "MLmodel").write_text('signature:\n  inputs: \'[{"name": "text", "type": "string"}]\'\n')
        result = run("serve-mlflow", "--port", 0, *arguments)
        assert result.code == 1
        assert words in result.err
        assert not (tmp_path / "mlflow.db").exists()
    assert run("serve-mlflow", "--tracking", "--model", "flowers5").code == 2
    assert run("serve-mlflow", "--workers", 0).code == 2


@pytest.mark.parametrize("missing", ["sys.modules['uvicorn'] = None", "importlib.util.find_spec = lambda name: None"])
def test_without_the_extra(missing):
    script = (
        f"import importlib.util, sys; {missing}\nfrom flowercli.cli.main import main; sys.exit(main(['serve-mlflow']))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "[serve]" in done.stderr


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path):
    (tmp_path / "MLmodel").write_text('signature:\n  inputs: \'[{"name": "image", "type": "string"}]\'\n')
    result = flowers("serve-mlflow", "--port", 0, "--model", tmp_path)
    assert result.code == 1
    assert "The model cannot be loaded" in result.err
    assert "Traceback" not in result.err


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Return a folder of runs whose store has the shipped model, and its entry in the registry."""
    from flowercli.mlflow_quietly import import_mlflow
    from flowercli.serving.mlflow.save import save_mlflow_model
    from flowercli.tracking.store import Store

    folder = tmp_path_factory.mktemp("runs")
    store = Store.beside(folder)
    save_mlflow_model(load_model(None).path / "model.int8.onnx", folder / "model")
    client = import_mlflow().MlflowClient(store.uri)
    run = client.create_run(client.create_experiment("flowers", store.artifacts))
    client.log_artifacts(run.info.run_id, str(folder / "model"), "served")
    client.set_terminated(run.info.run_id)
    client.create_registered_model("roses")
    client.create_model_version("roses", f"{run.info.artifact_uri}/served", run.info.run_id)
    return folder


@pytest.mark.slow
def test_registered_model_and_a_parent_that_is_killed(records, tmp_path):
    served = Server(tmp_path / "log", "--model", "models:/roses/1", "--runs", records)
    answers = served.predictions({"instances": [text_of(path) for path in PICTURES]})
    assert [answer["predicted_class"] for answer in answers] == [path.stem for path in PICTURES]
    # No worker stays behind and keeps the port.
    assert served.stop(signal.SIGKILL) == -signal.SIGKILL


@pytest.mark.slow
def test_tracking_server_on_the_store_of_the_runs(records, tmp_path):
    served = Server(tmp_path / "log", "--tracking", "--runs", records)
    status, answer = served.ask({"experiment_ids": ["1"]}, path="/api/2.0/mlflow/runs/search")
    assert status == 200, answer
    assert len(json.loads(answer)["runs"]) == 1
    status, page = served.ask(b"", method="GET", path="/")
    assert status == 200
    assert b"<html" in page
    # Not the root, which is about language models.
    runs = f"http://127.0.0.1:{served.port}/#/experiments/1/runs?workflowType=machine_learning"
    assert f"are at {runs}\n" in served.log.read_text()
    assert served.stop() == 0


def through_the_gate(app, *messages, path="/invocations"):
    """Return what the gate sends for a request whose body arrives in these messages, and then never goes on."""
    sent, waiting = [], list(messages)

    async def receive():
        return waiting.pop(0) if waiting else await asyncio.Future()

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    asyncio.run(Gate(app, 4, Hosts())(scope, receive, send))
    return sent[0]["status"] if sent else None, b"".join(message.get("body", b"") for message in sent)


async def failing(_scope, receive, send):
    """Fail as MLflow does: with what it was sent."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b'{"stack_trace": "' + body, "more_body": True})
    await send({"type": "http.response.body", "body": b'"}'})


def test_trickling_and_failing_requests(monkeypatch):
    whole = {"type": "http.request", "body": json.dumps({"instances": [MARKED]}).encode(), "more_body": False}
    status, answer = through_the_gate(failing, whole)
    assert (status, MARKED.encode() in answer) == (500, False)
    assert MARKED.encode() in through_the_gate(failing, whole, path="/elsewhere")[1]
    monkeypatch.setattr(gate, "RECEIVE_SECONDS", 0.1)
    monkeypatch.setattr(gate, "DRAIN_SECONDS", 0.1)
    half = {"type": "http.request", "body": b'{"inst', "more_body": True}
    assert through_the_gate(failing, half)[0] == 408
    assert through_the_gate(failing, half, {"type": "http.disconnect"}) == (None, b"")
    monkeypatch.setattr(gate, "MAX_HELD", 100)
    assert through_the_gate(failing, {**whole, "more_body": True}, whole)[0] == 503
    monkeypatch.setattr(gate, "MAX_REQUESTS", 0)
    assert through_the_gate(failing, whole)[0] == 503
