"""``flowers serve`` and the Open Inference Protocol: JSON, binary tensors, and Triton's own client."""

from __future__ import annotations

import base64
import json
import struct

import numpy as np
import pytest
from conftest import FLOWERS, SAMPLES
from support.serve_server import JSON, PICTURE, serving

from flowercli.inference.classifier import Classifier
from flowercli.inference.preprocess import load_pixels
from flowercli.models import load_model

INFER = "/v2/models/flowers/infer"
BINARY = "Inference-Header-Content-Length"
PICTURES = [(SAMPLES / f"{name}.jpg").read_bytes() for name in FLOWERS]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("serve")) as running:
        yield running


@pytest.fixture(scope="module")
def pixels():
    spec = Classifier.open(load_model(None)).spec
    return np.stack([load_pixels(picture, spec) for picture in PICTURES])


@pytest.fixture(scope="module")
def expected(pixels):
    """Return probabilities, embeddings and how sure it is as the session gives them, one picture a batch."""
    classifier = Classifier.open(load_model(None))
    return [np.concatenate(rows) for rows in zip(*(classifier.run(one[None]) for one in pixels), strict=True)]


def tensor(data=None, shape=(1,), name="image", datatype="BYTES", **more):
    """Return an input; with ``None``, one whose data follows."""
    found = {"name": name, "shape": list(shape), "datatype": datatype, **more}
    return found if data is None else {**found, "data": data}


def ask(server, *inputs, **more):
    return server.ask("POST", INFER, json.dumps({"inputs": list(inputs), **more}), JSON)


def test_metadata_and_health(server):
    assert server.ask("GET", "/v2").json["extensions"] == ["binary_tensor_data", "classification"]
    assert server.ask("GET", "/v2/health/live").status == 200
    assert server.ask("GET", "/v2/health/ready").status == 200
    assert server.ask("GET", "/v2/models/flowers/ready").status == 200
    assert server.ask("GET", "/v2/models/other/ready").problem() == (404, "not_found")
    model = server.ask("GET", "/v2/models/flowers").json
    assert model["inputs"][1] == {"name": "pixels", "datatype": "UINT8", "shape": [-1, 224, 224, 3]}
    assert model["outputs"][0] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 106]}
    shapes = {output["name"]: (output["datatype"], output["shape"]) for output in model["outputs"]}
    assert shapes["embedding"] == ("FP32", [-1, 1280])
    assert (shapes["known"], shapes["reason"]) == (("FP32", [-1, 1]), ("BYTES", [-1]))


def test_json_in_json_out(server, expected):
    texts = [base64.b64encode(picture).decode() for picture in PICTURES]
    for data, shape in ((texts, (5,)), ([[text] for text in texts], (5, 1))):
        reply = ask(server, tensor(data, shape), id="mine")
        assert reply.status == 200
        outputs = {output["name"]: output for output in reply.json["outputs"]}
        assert (reply.json["id"], reply.json["model_name"]) == ("mine", "flowers")
        probabilities = np.array(outputs["probabilities"]["data"], np.float32).reshape(
            outputs["probabilities"]["shape"]
        )
        assert np.array_equal(probabilities, expected[0])
        assert outputs["predicted_class"]["data"] == list(FLOWERS)
        assert outputs["rejected"]["data"] == [False] * 5
        assert outputs["reason"]["data"] == [""] * 5
        assert outputs["known"]["shape"] == [5, 1]
        assert outputs["known"]["data"] == pytest.approx(expected[2].tolist(), abs=1e-6)
        assert outputs["embedding"]["shape"] == [5, 1280]


def test_pixels_in_json(server, pixels, expected):
    for data in (pixels[2].ravel().tolist(), pixels[2:3].tolist()):
        reply = ask(
            server,
            tensor(data, (1, 224, 224, 3), "pixels", "UINT8"),
            outputs=[{"name": "probabilities", "parameters": {"classification": 2}}],
        )
        rose = load_model(None).class_names.index("rose")
        best = f"{expected[0][2][rose]:.6f}:{rose}:rose"
        assert reply.json["outputs"][0]["data"][0] == best
        assert reply.json["outputs"][0]["shape"] == [1, 2]


def test_a_file_alone_is_a_request(server, expected):
    reply = server.ask("POST", INFER, PICTURE, {BINARY: "0"})
    length = int(reply.headers[BINARY])
    head = json.loads(reply.body[:length])
    assert [output["name"] for output in head["outputs"]] == [
        "probabilities",
        "embedding",
        "known",
        "predicted_class",
        "rejected",
        "reason",
    ]
    sizes = [output["parameters"]["binary_data_size"] for output in head["outputs"]]
    assert len(reply.body) == length + sum(sizes)
    values = np.frombuffer(reply.body[length : length + sizes[0]], np.float32)
    assert np.array_equal(values, expected[0][2])


TRIES = [
    (json.dumps({}), 422),
    (json.dumps({"inputs": []}), 422),
    (json.dumps({"inputs": [tensor(["eA=="])], "more": 1}), 422),
    (json.dumps({"inputs": [tensor(["eA=="], extra=1)]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="], name="picture")]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="], datatype="FP32")]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="], shape=(2,))]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="], shape=(-1,))]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="], shape=(1, 2))]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="], shape=(1000,))]}), 422),
    (json.dumps({"inputs": [tensor(["eA="])]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="])]}), 422),
    (json.dumps({"inputs": [tensor()]}), 422),
    (json.dumps({"inputs": [tensor(parameters={"binary_data_size": 7})]}), 422),
    (json.dumps({"inputs": [tensor([1.5] * 3, (1, 1, 1, 3), "pixels", "UINT8")]}), 422),
    (json.dumps({"inputs": [tensor([256] * 150528, (1, 224, 224, 3), "pixels", "UINT8")]}), 422),
    (json.dumps({"inputs": [tensor([1] * 150527, (1, 224, 224, 3), "pixels", "UINT8")]}), 422),
    (json.dumps({"inputs": [tensor([[1], [1, 2]], (1, 224, 224, 3), "pixels", "UINT8")]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="])], "outputs": [{"name": "colour"}]}), 422),
    (json.dumps({"inputs": [tensor(["eA=="])], "outputs": [{"name": "rejected", "parameters": 3}]}), 422),
    ("[" * 100_000, 400),
    ("[" * 20_000_000, 422),
    ("nothing", 400),
]


@pytest.mark.parametrize(("body", "status"), TRIES)
def test_requests_that_do_not_follow_the_protocol(server, body, status):
    reply = server.ask("POST", INFER, body, JSON)
    assert reply.problem()[0] == status
    # Where the protocol's clients look.
    assert reply.json["error"] == reply.json["detail"]


@pytest.mark.parametrize("length", ["-1", "x", "99999999", "\u0661".encode().decode("latin-1")])
def test_header_lengths_that_are_none(server, length):
    assert server.ask("POST", INFER, PICTURE, {BINARY: length}).problem() == (400, "bad_request")


def test_elements_that_run_over_the_end(server):
    head = json.dumps({"inputs": [tensor(parameters={"binary_data_size": 8})]}).encode()
    for tail in (struct.pack("<II", 400, 0), struct.pack("<II", 0, 0), b"\xff" * 8):
        reply = server.ask("POST", INFER, head + tail, {BINARY: str(len(head))})
        assert reply.problem() == (422, "bad_request")


def test_tritons_client(server, pixels, expected):
    triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    from tritonclient.utils import InferenceServerException

    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("flowers")
        assert client.get_model_metadata("flowers")["name"] == "flowers"
        image = triton.InferInput("image", [5, 1], "BYTES")
        image.set_data_from_numpy(np.array(PICTURES, dtype=object).reshape(5, 1))
        answer = client.infer("flowers", [image])
        assert np.array_equal(answer.as_numpy("probabilities"), expected[0])
        assert np.array_equal(answer.as_numpy("embedding"), expected[1])
        assert [text.decode() for text in answer.as_numpy("predicted_class")] == list(FLOWERS)
        assert not answer.as_numpy("rejected").any()
        assert answer.as_numpy("known").shape == (5, 1)
        assert answer.as_numpy("reason").tolist() == [b""] * 5
        tensors = triton.InferInput("pixels", list(pixels.shape), "UINT8")
        tensors.set_data_from_numpy(pixels)
        wanted = [triton.InferRequestedOutput("probabilities", class_count=1)]
        answer = client.infer("flowers", [tensors], outputs=wanted)
        assert [text.decode().split(":")[2] for text in answer.as_numpy("probabilities")[:, 0]] == list(FLOWERS)
        image = triton.InferInput("image", [2], "BYTES")
        image.set_data_from_numpy(np.array([PICTURE, PICTURE[:9000]], dtype=object))
        with pytest.raises(InferenceServerException, match="Picture 1: It is cut off"):
            client.infer("flowers", [image])
