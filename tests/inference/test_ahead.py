"""Pictures at addresses, fetched ahead: together, in order, within the budget, and left when nobody wants them."""

from __future__ import annotations

import http.server
import threading
import time
from contextlib import contextmanager
from itertools import count

import pytest
from conftest import FLOWERS, SAMPLES

from flowercli.errors import ImageError
from flowercli.inference.ahead import Fetched, Room, fetched_ahead
from flowercli.inference.classifier import Classifier
from flowercli.inference.pipeline import classify_stream
from flowercli.models import load_model

SECONDS = 0.2


@contextmanager
def far_away():
    """Serve the samples, each request a while later; yields the address and how many are under way at most."""
    lock, seen = threading.Lock(), {"now": 0, "most": 0}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with lock:
                seen["now"] += 1
                seen["most"] = max(seen["most"], seen["now"])
            time.sleep(SECONDS)
            with lock:
                seen["now"] -= 1
            body = (SAMPLES / f"{self.path.rpartition('/')[2].partition('?')[0]}.jpg").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            """Keep quiet."""

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


@pytest.mark.network
def test_addresses_are_fetched_together_and_answered_in_order():
    classifier = Classifier.open(load_model("flowers5"))
    with far_away() as (url, seen):
        names = [FLOWERS[number % 5] for number in range(60)]
        paths = [f"{url}/{name}?{number}" for number, name in enumerate(names)]
        paths[30] = str(SAMPLES / f"{names[30]}.jpg")
        results = list(classify_stream(classifier, paths, workers=2))
    assert [result.path for result in results] == paths
    assert [result.outcome.predicted_class for result in results] == names
    assert 16 < seen["most"] <= 32


@pytest.mark.network
def test_a_path_before_them_waits_for_none():
    classifier = Classifier.open(load_model("flowers5"))
    asked = threading.Event()

    def paths():
        yield str(SAMPLES / "rose.jpg")
        assert asked.wait(20)
        yield "http://127.0.0.1:9/tulip.jpg"

    results = classify_stream(classifier, paths(), workers=2)
    assert next(results).outcome.predicted_class == "rose"
    asked.set()
    assert next(results).outcome.code == "download_failed"


def test_no_more_is_fetched_than_has_room():
    size, budget, lock, held, most = 1000, 10_000, threading.Lock(), 0, 0

    def fetch(_path):
        nonlocal held, most
        with lock:
            held += size
            most = max(most, held)
        return bytes(size)

    for source in fetched_ahead(map(str, range(300)), lambda _: fetch, Room(budget)):
        time.sleep(0.0005)
        with source as content:
            assert len(content) == size
            with lock:  # While it still has its room: when it gives that back, another is fetched at once.
                held -= size
    assert size < most <= budget


def test_one_that_is_larger_than_all_room_is_let_in_alone():
    sizes = [10, 5000, 10, 5000, 5000, 10]
    room = Room(1000)
    sources = fetched_ahead(map(str, range(6)), lambda _: lambda path: bytes(sizes[int(path)]), room)
    for source, size in zip(sources, sizes, strict=True):
        with source as content:
            assert len(content) == size


def test_a_defect_of_the_fetcher_is_raised_and_an_error_keeps_its_place():
    def fetch(path):
        if path == "2":
            raise ImageError("not_found", "There is no such object.")
        if path == "4":
            raise ZeroDivisionError
        return b"1"

    sources = fetched_ahead(map(str, range(9)), lambda _: fetch, Room())
    got = [next(sources) for _ in range(4)]
    assert all(isinstance(source, Fetched) for source in got)
    with pytest.raises(ImageError, match="no such object"), got[2]:
        pass
    with pytest.raises(ZeroDivisionError):
        next(sources)


def test_whoever_wants_no_more_leaves_no_thread_waiting():
    before, classifier = threading.active_count(), Classifier.open(load_model("flowers5"))
    picture = (SAMPLES / "rose.jpg").read_bytes()
    endless = (str(number) for number in count())
    results = classify_stream(classifier, endless, workers=2, fetcher=lambda _: lambda _: picture)
    assert next(results).outcome.predicted_class == "rose"
    results.close()
    deadline = time.monotonic() + 20
    while threading.active_count() > before:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.05)
