"""``flowers serve`` and what an answer is made of: how sure it is, why not, how many classes, among which."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.garden import NAMES, SCIENTIFIC, picture, write_garden
from support.serve_server import FORM, form, serving

PNG = {"Content-Type": "image/png"}
INFER = "/v2/models/flowers/infer"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_garden(tmp_path_factory.mktemp("model") / "garden.onnx")


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("serve"), model) as running:
        yield running


@pytest.fixture(scope="module")
def restricted(model, tmp_path_factory):
    arguments = ("--only", "iris, lily of the valley,poppy", "--workers", 2)
    with serving(tmp_path_factory.mktemp("serve"), model, *arguments) as running:
        yield running


def ask(server, flower, known=0.95, query=""):
    reply = server.classify(picture(flower, known), PNG, query)
    assert reply.status == 200, reply.json
    return reply.json


def test_an_answer_says_what_it_is_and_how_sure(server):
    answer = ask(server, "daisy")
    assert list(answer) == [
        "path", "predicted_class", "scientific_name", "class_index", "confidence", "known", "all_predictions",
        "rejected", "reason",
    ]  # fmt: skip
    assert (answer["predicted_class"], answer["scientific_name"]) == ("daisy", "Bellis perennis")
    assert answer["class_index"] == NAMES.index("daisy")
    assert answer["known"] == pytest.approx(0.95, abs=0.01)
    assert ask(server, "wild_flower")["scientific_name"] is None


@pytest.mark.parametrize(
    ("known", "rejected", "reason"),
    [(0.8, False, None), (0.6, True, "unsure"), (0.3, True, "not_a_known_flower")],
)
def test_a_rejected_answer_has_its_reason(server, known, rejected, reason):
    answer = ask(server, "rose", known)
    assert (answer["predicted_class"], answer["rejected"], answer["reason"]) == ("rose", rejected, reason)


def test_five_classes_are_listed_unless_more_are_asked_for(server):
    for query, count in (("", 5), ("?top_k=2", 2), ("?top_k=7", 7), ("?top_k=999", 14), ("?top_k=0", 14)):
        answer = ask(server, "tulip", query=query)
        values = list(answer["all_predictions"].values())
        assert len(values) == count
        assert values == sorted(values, reverse=True)
    assert answer["all_predictions"].keys() == SCIENTIFIC.keys()
    assert sum(values) == pytest.approx(1, abs=1e-5)


def test_only_answers_among_some_and_rejects_what_lies_outside(server):
    answer = ask(server, "iris", query="?only=rose,%20iris,rose,lily%20of%20the%20valley")
    assert answer["predicted_class"] == "iris"
    assert answer["class_index"] == NAMES.index("iris")
    assert answer["all_predictions"].keys() == {"iris", "lily_of_the_valley", "rose"}
    assert sum(answer["all_predictions"].values()) == pytest.approx(1, abs=1e-5)
    assert not answer["rejected"]
    everything = ask(server, "iris", query="?top_k=0")
    mass = sum(everything["all_predictions"][name] for name in answer["all_predictions"])
    assert answer["known"] == pytest.approx(everything["known"] * min(2 * mass, 1), abs=1e-5)
    outside = ask(server, "daisy", query="?top_k=1&only=rose,iris")
    assert len(outside["all_predictions"]) == 1
    assert (outside["rejected"], outside["reason"]) == (True, "not_a_known_flower")
    # It holds for its own request, in a form too.
    files = form(("a", picture("daisy")), ("b", picture("rose")))
    found = server.classify(files, FORM, "?only=rose,daisy").json["results"]
    assert [one["predicted_class"] for one in found] == ["daisy", "rose"]
    assert ask(server, "daisy")["rejected"] is False


def test_a_class_that_is_none_is_named_with_the_nearest(server):
    reply = server.classify(picture("iris"), PNG, "?only=rose,wallflwer")
    assert reply.problem() == (422, "bad_query")
    assert "'wallflwer'" in reply.json["detail"]
    assert "wallflower" in reply.json["detail"]


def test_a_restricted_server_answers_nothing_else_anywhere(restricted):
    assert "only among iris, lily_of_the_valley, poppy, " in restricted.text
    assert list(ask(restricted, "iris", query="?top_k=0")["all_predictions"]) == ["iris", "lily_of_the_valley", "poppy"]
    assert ask(restricted, "daisy")["reason"] == "not_a_known_flower"
    assert list(ask(restricted, "iris", query="?only=poppy")["all_predictions"]) == ["poppy"]
    reply = restricted.classify(picture("iris"), PNG, "?only=poppy,daisy")
    assert reply.problem() == (422, "bad_query")
    assert "'daisy'" in reply.json["detail"]
    assert restricted.ask("GET", "/page.json").json["only"] == ["iris", "lily_of_the_valley", "poppy"]
    description = restricted.ask("GET", "/openapi.json").json
    assert description["components"]["schemas"]["ClassName"]["enum"] == ["iris", "lily_of_the_valley", "poppy"]


def test_the_inference_protocol_of_a_restricted_server(restricted):
    reply = restricted.ask("POST", INFER, picture("rose"), {"Inference-Header-Content-Length": "0"})
    length = int(reply.headers["Inference-Header-Content-Length"])
    tensors, rest = {}, reply.body[length:]
    for output in json.loads(reply.body[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        tensors[output["name"]], rest = rest[:size], rest[size:]
    probabilities = np.frombuffer(tensors["probabilities"], np.float32)
    assert probabilities.sum() == pytest.approx(1)
    allowed = [NAMES.index(name) for name in ("iris", "lily_of_the_valley", "poppy")]
    assert set(np.flatnonzero(probabilities)) == set(allowed)
    assert np.frombuffer(tensors["known"], np.float32)[0] < 0.1
    assert tensors["predicted_class"][4:] == b"poppy"
    assert tensors["reason"][4:] == b"not_a_known_flower"


def test_rejections_are_counted_by_reason(model, tmp_path):
    with serving(tmp_path, model) as server:
        for known in (0.9, 0.6, 0.2, 0.2):
            ask(server, "rose", known)
        lines = server.ask("GET", "/metrics").body.decode().splitlines()
    counted = dict(line.rsplit(" ", 1) for line in lines if line.startswith("flowers_images_total"))
    assert {name.partition("{")[2].rstrip("}"): float(value) for name, value in counted.items()} == {
        'outcome="answered",reason=""': 1,
        'outcome="rejected",reason="unsure"': 1,
        'outcome="rejected",reason="not_a_known_flower"': 2,
        'outcome="error",reason=""': 0,
    }


def test_a_model_from_before_is_as_sure_as_its_largest_probability(tmp_path):
    with serving(tmp_path, write_garden(tmp_path / "before.onnx", known=False)) as server:
        answer = ask(server, "rose", 0.1)
    assert answer["known"] == answer["confidence"]
    assert answer["scientific_name"] is None
    assert answer["rejected"] is False
