"""What MLflow is told of a finished model, and which stores `flowers eval` asks for the run that made a bundle."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from flowercli.bundle import Bundle

pytest.importorskip("torch", reason="needs the extra 'train'")

from sklearn.metrics import precision_recall_fscore_support

from flowercli.evaluation.metrics import evaluate
from flowercli.mlflow_quietly import import_mlflow
from flowercli.tracking.evaluation import record_evaluation, store_of
from flowercli.tracking.records import final_metrics, in_parts, recorded
from flowercli.tracking.replay import METRICS_A_REQUEST, RUN_TAG
from flowercli.tracking.store import Store

RUN = "0123456789abcdef" * 2


def answers(class_names, absent=()):
    generator = np.random.default_rng(7)
    there = [index for index in range(len(class_names)) if index not in absent]
    targets = np.concatenate([there, generator.choice(there, 3 * len(class_names))])
    logits = generator.normal(size=(len(targets), len(class_names))) + 2 * np.eye(len(class_names))[targets]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, targets


def test_metrics_are_those_of_scikit_learn():
    names = ["daisy", "rose", "tulip", "poppy"]
    probabilities, targets = answers(names, absent=(3,))
    values = final_metrics("test", evaluate(probabilities, targets, names))
    predicted = probabilities.argmax(axis=1)
    assert values["test/accuracy"] == pytest.approx((predicted == targets).mean(), abs=1e-4)
    macro = precision_recall_fscore_support(targets, predicted, average="macro", zero_division=0)
    each = precision_recall_fscore_support(targets, predicted, labels=range(4), zero_division=0)
    for key, whole, parts in zip(("precision", "recall", "f1"), macro, each, strict=False):
        assert values[f"test/macro_{key}"] == pytest.approx(whole, abs=1e-4)
        assert [values[f"test/{key}/{name}"] for name in names[:3]] == pytest.approx(parts[:3], abs=1e-4)
    assert not [key for key in values if "poppy" in key]


def test_a_hundred_classes_of_two_splits_are_one_request():
    names = [f"flower {number}" for number in range(106)]
    metrics = {split: {"torch": evaluate(*answers(names), names)} for split in ("val", "test")}
    values = recorded({"metrics": metrics}, ("val", "test"))
    assert len(values) == 2 * (4 + 3 * 106)
    assert list(in_parts(values, METRICS_A_REQUEST)) == [values]
    parts = list(in_parts(values, 100))
    assert [len(part) for part in parts] == [100] * 6 + [44]
    assert {key: value for part in parts for key, value in part.items()} == values


def test_class_names_of_any_letters_are_names_of_metrics():
    from mlflow.utils.validation import _validate_metric_name

    names = ["a/b", "a:b", "l'œillet", "百合", "..", "x" * 300, "x" * 301, "a_b"]
    values = final_metrics("val", evaluate(*answers(names), names))
    assert len(values) == 4 + 3 * len(names)
    for key in values:
        _validate_metric_name(key)
        assert len(key) <= 250


def bundle_of(folder, **tracking):
    config = {"tracking": {"name": "mlflow", "uri": None, "experiment": "flowers", **tracking}}
    provenance = {"run": RUN, "config": config, "epochs_trained": 3}
    return Bundle(folder / "run", {"label_names": ["daisy", "rose"], "flowers": {"provenance": provenance}})


def test_no_place_of_strangers_is_asked_for_a_run(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for uri in ("http://example.org:80", "sqlite:////etc/passwd", "http://127.0.0.1@example.org", "file:///tmp", 7):
        assert store_of(bundle_of(tmp_path, uri=uri)) is None
    assert store_of(bundle_of(tmp_path, uri="http://localhost:8080")) == Store("http://localhost:8080")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org")
    assert store_of(bundle_of(tmp_path)) == Store("http://example.org")
    bundle = bundle_of(tmp_path)
    bundle.section["provenance"]["run"] = "' or 1 = 1"
    assert store_of(bundle) is None


def test_an_evaluation_goes_into_the_run_that_made_the_bundle(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names = ["daisy", "rose"]
    metrics = evaluate(*answers(names), names)
    evaluation = SimpleNamespace(bundle=bundle_of(tmp_path), split="test", variants={"torch": metrics, "int8": metrics})
    assert record_evaluation(evaluation) is None  # There is no store.
    assert list(tmp_path.iterdir()) == []
    store, mlflow = Store.beside(tmp_path), import_mlflow()
    experiment = store.client().create_experiment("flowers")
    assert record_evaluation(evaluation) is None  # It has no such run.
    run = mlflow.MlflowClient(store.uri).create_run(experiment, tags={RUN_TAG: RUN})
    assert record_evaluation(evaluation) == store.uri
    found = mlflow.MlflowClient(store.uri).get_run(run.info.run_id).data.metrics
    assert found["test/recall/rose"] == metrics["per_class"]["rose"]["recall"]["value"]
    assert found["test/int8/accuracy"] == found["test/accuracy"] == metrics["accuracy"]["value"]
