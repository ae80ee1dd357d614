"""``flowers eval``: scikit-learn's values, intervals that are known, the photographs of the manifest."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score

from flowercli.bundle import Bundle
from flowercli.training.metrics import evaluate, f1_from_matrices, wilson

NAMES = ["a", "b", "c", "d"]


def answers(seed, count=200, classes=4):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), count)
    targets = np.where(
        generator.random(count) < 0.7, probabilities.argmax(axis=1), generator.integers(0, classes, count)
    )
    return probabilities, targets


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_values_are_those_of_scikit_learn(seed):
    probabilities, targets = answers(seed)
    predictions = probabilities.argmax(axis=1)
    metrics = evaluate(probabilities, targets, NAMES)
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(targets, predictions), abs=1e-6)
    assert metrics["macro_f1"]["value"] == pytest.approx(f1_score(targets, predictions, average="macro"), abs=1e-6)
    assert metrics["weighted_f1"]["value"] == pytest.approx(
        f1_score(targets, predictions, average="weighted"), abs=1e-6
    )
    assert metrics["log_loss"] == pytest.approx(log_loss(targets, probabilities, labels=range(4)), abs=1e-5)
    for index, name in enumerate(NAMES):
        row = metrics["per_class"][name]
        only = {"labels": [index], "average": "macro"}
        assert row["precision"]["value"] == pytest.approx(precision_score(targets, predictions, **only), abs=1e-6)
        assert row["recall"]["value"] == pytest.approx(recall_score(targets, predictions, **only), abs=1e-6)
        assert row["support"] == (targets == index).sum()


def test_wilson_against_published_values():
    # Newcombe (1998), table I: 81 of 263 and 15 of 148, score method without continuity correction.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == 1


def test_intervals_hold_the_value_and_shrink():
    small, large = (evaluate(*answers(1, count), NAMES) for count in (60, 6000))
    for metric in ("accuracy", "macro_f1", "weighted_f1"):
        for value in (small[metric], large[metric]):
            assert value["low"] <= value["value"] <= value["high"]
        assert large[metric]["high"] - large[metric]["low"] < small[metric]["high"] - small[metric]["low"]


def test_class_that_never_occurs():
    matrices = np.array([[[3, 1, 0], [0, 2, 0], [0, 0, 0]]])
    macro, weighted = f1_from_matrices(matrices)
    targets, predictions = [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]
    assert macro[0] == pytest.approx(f1_score(targets, predictions, average="macro"))
    assert weighted[0] == pytest.approx(f1_score(targets, predictions, average="weighted"))


def test_every_variant_is_evaluated_and_recorded(own_bundle, run):
    result = run("eval", own_bundle, "--split", "test", "--json")
    assert result.code == 0, result.err
    variants = json.loads(result.out)["variants"]
    assert list(variants) == ["torch", "onnx", "int8"]
    assert variants["onnx"]["accuracy"] == variants["torch"]["accuracy"]
    assert variants["onnx"]["log_loss"] == pytest.approx(variants["torch"]["log_loss"], abs=1e-3)
    assert variants["torch"]["baseline"]["accuracy"]["value"] < variants["torch"]["accuracy"]["value"]
    bundle = Bundle.load(own_bundle)
    bundle.verify()
    assert bundle.section["metrics"]["test"] == variants
    assert "| test | int8 |" in (own_bundle / "README.md").read_text()


def test_table_shows_intervals_classes_and_confusion(own_bundle, run):
    result = run("eval", own_bundle, "--split", "val")
    assert result.code == 0, result.err
    for word in ("Accuracy", "Macro F1", "Weighted F1", "Always '", "Precision", "Recall", "Confusion", "blue", "int8"):
        assert word in result.out


def test_altered_photograph_is_refused(own_bundle, own_dataset, run):
    for path in (own_dataset / "blue").iterdir():
        path.write_bytes(path.read_bytes() + b" ")
    result = run("eval", own_bundle, "--split", "train", "--data", own_dataset)
    assert result.code == 1
    assert "is not the photograph" in result.err


def test_missing_photographs_are_counted(own_bundle, own_dataset, run):
    shutil.rmtree(own_dataset / "blue")
    result = run("eval", own_bundle, "--split", "train", "--data", own_dataset)
    assert result.code == 1
    assert "--data DIR" in result.err
    assert run("eval", own_bundle, "--data", own_dataset / "none").code == 1


def test_wrong_split_and_bundle(own_bundle, run, tmp_path):
    assert run("eval", own_bundle, "--split", "testing").code == 2
    assert run("eval", tmp_path).code == 1
