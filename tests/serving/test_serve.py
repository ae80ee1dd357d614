"""``flowers serve``: what it answers, to whom, and what it tells about itself."""

from __future__ import annotations

import base64
import json
import socket

import pytest
from conftest import FLOWERS, SAMPLES, flowers
from support.serve_server import FORM, JPEG, JSON, PICTURE, form, serving

PICTURES = [SAMPLES / f"{name}.jpg" for name in FLOWERS]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("serve")) as running:
        yield running


@pytest.fixture(scope="module")
def expected():
    """Return what ``flowers classify --json`` says about the samples, without their paths."""
    done = flowers("classify", "--json", *PICTURES)
    return [{**json.loads(line), "path": None} for line in done.out.splitlines()]


def test_bytes_form_and_base64_get_the_answers_of_classify(server, expected):
    contents = [path.read_bytes() for path in PICTURES]
    raw = [server.classify(content) for content in contents]
    assert [reply.status for reply in raw] == [200] * 5
    assert [reply.json for reply in raw] == expected
    assert list(raw[0].json) == list(expected[0])
    named = server.classify(form(*zip(FLOWERS, contents, strict=True)), FORM)
    assert named.json["results"] == [{**one, "path": name} for one, name in zip(expected, FLOWERS, strict=True)]
    texts = [base64.b64encode(content).decode() for content in contents]
    listed = server.classify(json.dumps({"images": texts}), JSON)
    assert listed.json["results"] == expected


def test_octet_streams_and_top_k(server, expected):
    reply = server.classify(PICTURE, {"Content-Type": "application/octet-stream"}, "?top_k=2")
    assert list(reply.json["all_predictions"]) == list(expected[2]["all_predictions"])[:2]


def test_a_bad_picture_among_several_has_its_error_in_its_place(server):
    files = [("a.jpg", PICTURE), ("b.jpg", b"no picture"), ("c.jpg", PICTURE[:9000]), ("d.jpg", PICTURE)]
    reply = server.classify(form(*files), FORM)
    assert reply.status == 200
    results = reply.json["results"]
    assert [one["path"] for one in results] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert [one.get("error", {}).get("code") for one in results] == [None, "not_an_image", "truncated", None]
    texts = [base64.b64encode(PICTURE).decode(), "not base64"]
    results = server.classify(json.dumps({"images": texts}), JSON).json["results"]
    assert results[0]["predicted_class"] == "rose"
    assert results[1]["error"]["code"] == "not_base64"


def test_ready_line_and_access_log(tmp_path):
    with serving(tmp_path) as server:
        for identity in ("my-id:1", 'bad "id', "x" * 200):
            assert server.classify(PICTURE, {**JPEG, "X-Request-ID": identity}).status == 200
        server.ask("GET", "/nothing?secret=1")
        assert server.end() == 0
    assert "garden (tf_efficientnet_lite1) on cpu (model.int8.onnx)" in server.text
    first, second, third, fourth = server.lines()
    assert first["request_id"] == "my-id:1"
    assert len({second["request_id"], third["request_id"], fourth["request_id"]}) == 3
    assert "bad " not in server.text
    assert set(first) == {
        "time", "request_id", "client", "method", "path", "status", "ms", "bytes_in", "images", "bytes_out",
    }  # fmt: skip
    assert (first["method"], first["path"], first["status"]) == ("POST", "/v1/classify", 200)
    assert (first["images"], first["bytes_in"]) == (1, len(PICTURE))
    assert (fourth["path"], fourth["status"]) == ("/nothing", 404)
    assert "secret" not in server.text
    assert "Stopped." in server.text


def test_metrics_are_what_prometheus_reads(tmp_path):
    from prometheus_client.parser import text_string_to_metric_families

    with serving(tmp_path) as server:
        server.classify(form(("a", PICTURE), ("b", PICTURE), ("c", b"none")), FORM)
        server.classify(PICTURE, {"Content-Type": "text/plain"})
        server.ask("PROPFIND", "/pot")
        reply = server.ask("GET", "/metrics")
        families = list(text_string_to_metric_families(reply.body.decode()))
    values = {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}
    assert {family.name for family in families} == {
        "flowers_requests", "flowers_request_seconds", "flowers_stage_seconds", "flowers_images", "flowers_predictions",
        "flowers_in_progress", "flowers_queue_images", "flowers_shed", "flowers_model_info", "flowers_runtime_info",
            "flowers_batch_images",
    }  # fmt: skip
    assert values["flowers_requests_total", "/v1/classify", "200", "POST"] == 1
    assert values["flowers_requests_total", "/v1/classify", "415", "POST"] == 1
    assert values["flowers_requests_total", "404", "other", "other"] == 1
    assert values["flowers_images_total", "", "answered"] == 2
    assert values["flowers_images_total", "", "error"] == 1
    assert values["flowers_images_total", "rejected", "unsure"] == 0
    assert values["flowers_predictions_total", "rose"] == 2
    assert values["flowers_stage_seconds_count", "infer"] == 2
    assert values["flowers_stage_seconds_count", "queue"] == 3
    assert values["flowers_request_seconds_count", "/v1/classify"] == 2
    assert values["flowers_in_progress",] == 1
    assert values["flowers_queue_images",] == 0
    assert ("flowers_runtime_info", "CPUExecutionProvider", "cpu", "model.int8.onnx") in values


def test_a_taken_port_is_one_message():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = flowers("serve", "--port", port)
    assert done.code == 1
    assert done.err.splitlines() == [
        f"Error: Port {port} of 127.0.0.1 is taken by another program.", f"flowers serve --port {port + 1}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.onnx"], 1, "There is no model bundle"),
        (["--host", "192.0.2.1"], 1, "192.0.2.1"),
        (["--api-key", ""], 2, "The API key is empty"),
        (["--cors-origin", "example.org/x"], 2, "not an origin"),
        (["--max-body", "64", "--max-held", "32"], 2, "--max-held is below --max-body"),
        (["--device", "tpu"], 2, "--device tpu"),
        (["--only", "rose,dasy"], 2, "'dasy'. The nearest: daisy"),
        (["--only", " , ", "--workers", "2"], 2, "No flower is named"),
        (["none.onnx", "--workers", "2"], 1, "There is no model bundle"),
    ],
)
def test_mistakes_are_told_before_anything_is_served(run, arguments, code, message):
    done = run("serve", "--port", "0", *arguments)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
