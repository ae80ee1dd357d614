"""``flowers serve`` of a model that was taught a flower: it answers as ``flowers classify`` does."""

from __future__ import annotations

import pytest
from support.serve_server import serving
from support.taught import teachable, write_new

from flowercli.bundle import Bundle
from flowercli.evaluation.bundle_data import bundle_data
from flowercli.inference.classifier import Classifier
from flowercli.serving.page.files import page_files
from flowercli.teaching.exemplars import make_exemplars, put_into
from flowercli.teaching.teach import teach


def test_a_taught_flower_is_served(tmp_path):
    made, data, outliers = teachable(tmp_path)
    classifier = Classifier.open(made, "cpu")
    put_into(made, make_exemplars(classifier, bundle_data(made, data, outliers)), classifier.runtime.graph)
    photos = sorted((write_new(tmp_path / "new") / "blue_thing").iterdir())
    teach(Bundle.load(made.path), {"blue_thing": [str(path) for path in photos]}, [], tmp_path / "mine")
    mine = Bundle.load(tmp_path / "mine")
    assert page_files(mine)["/model/model.int8.onnx"].content == mine.file("model.int8.onnx").read_bytes()
    with serving(tmp_path, mine.path) as server:
        for path in (photos[0], data / "rose" / "0.png"):
            kind = "image/png" if path.suffix == ".png" else "image/jpeg"
            answer = server.classify(path.read_bytes(), {"Content-Type": kind}).json
            wanted = Classifier.open(mine, "cpu").classify(path)
            assert answer["predicted_class"] == wanted.predicted_class
            assert answer["known"] == pytest.approx(wanted.known, abs=1e-4)
