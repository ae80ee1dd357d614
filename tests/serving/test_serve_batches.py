"""``flowers serve --batch-size``: pictures of many requests in one batch, each answered as alone, none kept waiting."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import FLOWERS, SAMPLES
from support.serve_server import FORM, JSON, PICTURE, form, serving

from flowercli.inference.batches import Batches
from flowercli.serving.http.batch_workers import BatchWorkers
from flowercli.serving.http.jobs import Answered
from flowercli.serving.http.service import Service, open_classifier
from flowercli.serving.http.settings import Limits, Settings

pytestmark = pytest.mark.network

FILES = {name: (SAMPLES / f"{name}.jpg").read_bytes() for name in FLOWERS}
CLIENTS = 16


def batches_of(text):
    """Return how many batches there were, and how many pictures they had together."""
    return [int(float(re.search(rf"flowers_batch_images_{kind} (\S+)", text)[1])) for kind in ("count", "sum")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("serve"), "flowers5", "--batch-size", 8, "--max-wait", 60) as running:
        yield running


def test_many_requests_are_answered_together_and_each_as_alone(server, run):
    expected = [json.loads(line) for line in run(
        "classify", *(SAMPLES / f"{name}.jpg" for name in FLOWERS), "--json", "--model", "flowers5", "--device", "cpu"
    ).out.splitlines()]  # fmt: skip
    before = batches_of(server.ask("GET", "/metrics").body.decode())
    with ThreadPoolExecutor(CLIENTS) as pool:
        replies = list(pool.map(lambda place: server.classify(FILES[FLOWERS[place % 5]]), range(2 * CLIENTS)))
    for place, reply in enumerate(replies):
        wanted = {**expected[place % 5], "path": None}
        assert reply.status == 200
        assert reply.json["all_predictions"] == pytest.approx(wanted.pop("all_predictions"), abs=1e-5)
        for numbers in ("confidence", "known"):
            assert reply.json[numbers] == pytest.approx(wanted.pop(numbers), abs=1e-5)
        assert {key: reply.json[key] for key in wanted} == wanted
    runs, pictures = np.subtract(batches_of(server.ask("GET", "/metrics").body.decode()), before)
    assert pictures == 2 * CLIENTS
    assert runs < pictures


def test_a_bad_picture_harms_only_itself(server):
    mixed = form(
        ("a.jpg", FILES["rose"]), ("b.jpg", b"no picture"), ("c.jpg", FILES["tulip"][:30_000]), ("d.jpg", PICTURE)
    )
    results = server.classify(mixed, FORM).json["results"]
    assert [one.get("predicted_class") for one in results] == ["rose", None, None, "rose"]
    assert [one.get("error", {}).get("code") for one in results] == [None, "not_an_image", "truncated", None]


def test_requests_that_ask_about_different_flowers_share_a_batch(server):
    with ThreadPoolExecutor(8) as pool:
        queries = ["?only=rose,tulip", "?only=daisy&top_k=1", "?top_k=0", ""] * 4
        replies = list(pool.map(lambda query: server.classify(PICTURE, query=query).json, queries))
    assert [set(reply["all_predictions"]) for reply in replies[:2]] == [{"rose", "tulip"}, {"daisy"}]
    assert [len(reply["all_predictions"]) for reply in replies] == [2, 1, 5, 5] * 4
    pixels = np.zeros((3, 224, 224, 3), np.uint8)
    asked = {"inputs": [{"name": "pixels", "shape": [3, 224, 224, 3], "datatype": "UINT8", "data": pixels.tolist()}]}
    answer = server.ask("POST", "/v2/models/flowers/infer", json.dumps(asked), JSON).json
    assert {output["name"]: output["shape"] for output in answer["outputs"]}["probabilities"] == [3, 5]


def test_one_that_comes_alone_waits_for_no_other(server):
    """Slowly one after the other: were each to wait for a full batch, or for its time, this would show."""
    before = batches_of(server.ask("GET", "/metrics").body.decode())
    for _ in range(5):
        assert server.classify(PICTURE).status == 200
        time.sleep(0.05)
    assert np.subtract(batches_of(server.ask("GET", "/metrics").body.decode()), before).tolist() == [5, 5]


def test_what_was_accepted_is_answered_at_the_end(tmp_path):
    def under_way(server):
        return int(float(re.search(r"\nflowers_in_progress (\S+)", server.ask("GET", "/metrics").body.decode())[1]))

    with serving(tmp_path, "flowers5", "--batch-size", 8, "--max-wait", 60) as server, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.classify, form(*[("a.jpg", PICTURE)] * 12), FORM) for _ in range(4)]
        # All of them, and the question itself.
        while under_way(server) < 5 and not any(future.done() for future in asked):
            time.sleep(0.01)
        assert server.end() == 0
        replies = [future.result() for future in asked]
    assert [len(reply.json["results"]) for reply in replies] == [12] * 4
    assert "Traceback" not in server.text


@pytest.fixture
def service():
    """Return a service in this process, whose pictures wait for others for a second at most."""
    settings = Settings(model="flowers5", threads=2, batch_size=8, limits=Limits(wait=60), drain_seconds=2)
    running = Service(open_classifier(settings), settings)
    running.workers = BatchWorkers(
        running.classifier,
        threads=2,
        limits=running.limits,
        metrics=running.metrics,
        observers=running.observers,
        batches=Batches(8, 1.0),
    )
    running.start()
    yield running
    running.stop()


def test_a_picture_waits_for_one_that_is_being_decoded_no_longer_than_is_said(service, monkeypatch):
    """Another picture holds its thread: the answer comes after the second that is said, and not after that picture."""
    load, let_go = service.workers._load, threading.Event()

    def held(source, started):
        if source == FILES["tulip"]:
            assert let_go.wait(30)
        return load(source, started)

    monkeypatch.setattr(service.workers, "_load", held)

    async def ask():
        slow = asyncio.create_task(service.workers.answer([FILES["tulip"]], service.classifier))
        await asyncio.sleep(0.1)
        started = time.perf_counter()
        (answer,) = await service.workers.answer([PICTURE], service.classifier)
        seconds = time.perf_counter() - started
        assert not slow.done()
        let_go.set()
        return answer, seconds, (await slow)[0]

    answer, seconds, late = asyncio.run(ask())
    assert [one.prediction.predicted_class for one in (answer, late)] == ["rose", "tulip"]
    assert 1.0 <= seconds < 5


def test_a_graph_that_fails_answers_its_batch_and_no_more(service, monkeypatch):
    run, failing = service.classifier.run, [True]

    def broken(pixels):
        if failing.pop() if failing else False:
            raise RuntimeError("the device is gone")
        return run(pixels)

    monkeypatch.setattr(service.classifier, "run", broken)

    async def ask():
        return await asyncio.gather(
            *(service.workers.answer([PICTURE], service.classifier) for _ in range(2)), return_exceptions=True
        )

    first = asyncio.run(ask())
    assert {getattr(one, "status", 200) for one in first} >= {500}
    again = asyncio.run(ask())
    assert all(isinstance(one[0], Answered) for one in again)
