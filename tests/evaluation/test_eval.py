"""``flowers eval``: scikit-learn's values, intervals that are known, the photographs of the manifest."""

from __future__ import annotations

import json
import pickle
import shlex
import shutil
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)

from flowercli.bundle import Bundle, describe
from flowercli.errors import BundleError
from flowercli.evaluation.card import model_card
from flowercli.evaluation.intervals import class_texts, wilson
from flowercli.evaluation.metrics import evaluate
from flowercli.evaluation.scores import f1_from_counts, resampled_sums
from flowercli.models import load_model
from flowercli.training.model import load_bundle_model

NAMES = ["a", "b", "c", "d"]


def answers(seed, count=200, classes=4):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), count)
    targets = np.where(
        generator.random(count) < 0.7, probabilities.argmax(axis=1), generator.integers(0, classes, count)
    )
    return probabilities, targets


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(12, 300))
@settings(max_examples=15, deadline=None)
def test_values_are_those_of_scikit_learn(seed, classes, count):
    probabilities, targets = answers(seed, count, classes)
    targets[:classes] = range(classes)  # scikit-learn warns where a class is not there
    predictions, every = probabilities.argmax(axis=1), range(classes)
    metrics = evaluate(probabilities, targets, list("abcdef")[:classes])
    expected = {
        "accuracy": accuracy_score(targets, predictions),
        "balanced_accuracy": balanced_accuracy_score(targets, predictions),
        "top_2_accuracy": top_k_accuracy_score(targets, probabilities, k=2, labels=every) if classes > 2 else 1,
        "macro_f1": f1_score(targets, predictions, average="macro"),
        "weighted_f1": f1_score(targets, predictions, average="weighted"),
        "log_loss": log_loss(targets, probabilities, labels=every),
        "brier": brier_score_loss(targets, probabilities, labels=every, scale_by_half=False),
    }
    for name, value in expected.items():
        assert metrics[name]["value"] == pytest.approx(value, abs=1e-6), name
    for index in every:
        row = metrics["per_class"]["abcdef"[index]]
        only = {"labels": [index], "average": "macro", "zero_division": 0}
        assert row["precision"]["value"] == pytest.approx(precision_score(targets, predictions, **only), abs=1e-6)
        assert row["recall"]["value"] == pytest.approx(recall_score(targets, predictions, **only), abs=1e-6)
        assert row["support"] == (targets == index).sum()


def test_calibration_error_by_hand():
    # 0.62 and 0.66 share the bin (9/15, 10/15] and one of their answers is right; 0.9 is alone in (13/15, 14/15].
    probabilities = np.array([[0.62, 0.38], [0.66, 0.34], [0.1, 0.9]])
    metrics = evaluate(probabilities, np.array([0, 1, 1]), ["a", "b"])
    assert metrics["ece"]["value"] == pytest.approx((abs(0.62 + 0.66 - 1) + abs(0.9 - 1)) / 3, abs=1e-6)
    certain = evaluate(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), ["a", "b"])
    assert certain["ece"] == {"value": 0, "low": 0, "high": 0}


def test_overconfidence_shows_in_the_calibration_error():
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 2, (4000, 4))
    true, sharp = (np.exp(logits * factor) / np.exp(logits * factor).sum(axis=1, keepdims=True) for factor in (1, 2))
    targets = (true.cumsum(axis=1) > generator.random((4000, 1))).argmax(axis=1)
    calibrated, overconfident = (evaluate(p, targets, NAMES)["ece"] for p in (true, sharp))
    assert calibrated["low"] < 0.01
    assert overconfident["low"] > 0.05
    gap = sharp.max(axis=1).mean() - true[np.arange(4000), sharp.argmax(axis=1)].mean()
    assert overconfident["low"] < gap < overconfident["high"]


def test_wilson_against_published_values():
    # Newcombe (1998), table I: 81 of 263 and 15 of 148, score method without continuity correction.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == 1


def test_intervals_hold_the_value_and_shrink():
    small, large = (evaluate(*answers(1, count), NAMES) for count in (60, 6000))
    for metric in ("accuracy", "balanced_accuracy", "top_2_accuracy", "macro_f1", "weighted_f1", "log_loss", "brier"):
        for value in (small[metric], large[metric]):
            assert value["low"] <= value["value"] <= value["high"]
        assert large[metric]["high"] - large[metric]["low"] < small[metric]["high"] - small[metric]["low"]


def test_bootstrap_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(0, 1, 400)
    means = resampled_sums(values[:, np.newaxis])[:, 0] / 400
    assert means.mean() == pytest.approx(values.mean(), abs=0.005)
    assert means.std() == pytest.approx(values.std() / 20, rel=0.06)


def test_resamples_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    columns = np.random.default_rng(0).normal(0, 1, (30, 2))
    whole = resampled_sums(columns)
    monkeypatch.setattr("flowercli.evaluation.scores.CELLS_AT_ONCE", 700)
    assert np.allclose(resampled_sums(columns), whole)


def test_class_that_never_occurs():
    hits, there, named = np.array([[3.0, 2, 0]]), np.array([[4.0, 2, 0]]), np.array([[3.0, 3, 0]])
    macro, weighted = f1_from_counts(hits, there, named)
    targets, predictions = [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]
    assert macro[0] == pytest.approx(f1_score(targets, predictions, average="macro"))
    assert weighted[0] == pytest.approx(f1_score(targets, predictions, average="weighted"))
    probabilities = np.eye(3)[predictions] * 0.7 + 0.1
    metrics = evaluate(probabilities, np.array(targets), ["a", "b", "c"])
    assert metrics["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(targets, predictions))
    assert metrics["per_class"]["c"]["support"] == 0
    assert class_texts(metrics["per_class"]["c"]) == ("–", "–", "–")


def test_a_class_that_is_never_named_and_one_that_is_not_there():
    probabilities = np.eye(3)[[0, 2]] * 0.7 + 0.1
    metrics = evaluate(probabilities, np.array([0, 1]), ["a", "b", "c"])
    assert class_texts(metrics["per_class"]["a"]) == ("100.0 % (20.7–100.0)", "100.0 % (20.7–100.0)", "100.0 %")
    assert class_texts(metrics["per_class"]["b"]) == ("–", "0.0 % (0.0–79.3)", "0.0 %")
    assert class_texts(metrics["per_class"]["c"]) == ("0.0 % (0.0–79.3)", "–", "–")


def test_one_photograph_and_two_classes():
    metrics = evaluate(np.array([[0.8, 0.2]]), np.array([1]), ["a", "b"])
    assert metrics["accuracy"]["value"] == 0
    assert metrics["top_2_accuracy"]["value"] == 1
    assert metrics["balanced_accuracy"] == {"value": 0, "low": 0, "high": 0}
    assert metrics["brier"]["value"] == pytest.approx(2 * 0.8**2)
    assert metrics["ece"]["value"] == pytest.approx(0.8)


def test_a_card_has_every_metric_with_its_interval():
    card = model_card(load_model("flowers5").config)
    assert "| macro F1 | log loss | calibration error | always" in card
    assert "| test | int8 | 118 |" in card


def test_every_variant_is_evaluated_and_recorded(own_bundle, run):
    result = run("eval", own_bundle, "--split", "test", "--json")
    assert result.code == 0, result.err
    variants = json.loads(result.out)["variants"]
    assert list(variants) == ["torch", "onnx", "int8"]
    assert variants["onnx"]["accuracy"] == variants["torch"]["accuracy"]
    assert variants["onnx"]["log_loss"]["value"] == pytest.approx(variants["torch"]["log_loss"]["value"], abs=1e-3)
    assert variants["torch"]["baseline"]["accuracy"]["value"] < variants["torch"]["accuracy"]["value"]
    bundle = Bundle.load(own_bundle)
    bundle.verify()
    assert bundle.section["metrics"]["test"] == variants
    assert "| test | int8 |" in (own_bundle / "README.md").read_text()


def test_table_shows_intervals_classes_and_confusion_and_a_corrected_card_stays(own_bundle, run):
    (own_bundle / "README.md").write_text("# Ours\n")
    result = run("eval", own_bundle, "--split", "val")
    assert result.code == 0, result.err
    rows = (
        "Accuracy",
        "Balanced accuracy",
        "Top-2 accuracy",
        "Macro F1",
        "Weighted F1",
        "Always '",
        "Log loss",
        "Brier",
    )
    for word in (*rows, "Calibration error", "Precision", "Recall", "Confusion", "blue", "int8"):
        assert word in result.out, word
    assert (own_bundle / "README.md").read_text() == "# Ours\n"
    assert "README.md was changed by hand and stays as it is" in result.err
    assert "accuracy" in Bundle.load(own_bundle).section["metrics"]["val"]["int8"]


def test_a_card_that_was_deleted_is_written_again_by_what_is_told(own_bundle, run):
    mine = own_bundle.rename(own_bundle.with_name("my bundle"))
    (mine / "README.md").unlink()
    told = run("publish", mine, "me/five", "--dry-run")
    assert told.code == 1
    assert f"The bundle {mine} is incomplete: README.md is missing." in told.err
    hint = f"flowers eval '{mine}'"
    assert told.err.splitlines()[-1] == hint
    assert run(*shlex.split(hint)[1:]).code == 0
    assert run("publish", mine, "me/five", "--dry-run").code == 0


def test_altered_photograph_is_refused(own_bundle, own_dataset, run):
    for path in (own_dataset / "blue").iterdir():
        path.write_bytes(path.read_bytes() + b" ")
    result = run("eval", own_bundle, "--split", "train", "--data", own_dataset)
    assert result.code == 1
    assert "photographs of 'train'" in result.err
    assert "were edited since the model was trained" in result.err


def test_missing_photographs_are_counted(own_bundle, own_dataset, run):
    shutil.rmtree(own_dataset / "blue")
    result = run("eval", own_bundle, "--split", "train", "--data", own_dataset)
    assert result.code == 1
    assert "--data DIR" in result.err
    assert run("eval", own_bundle, "--data", own_dataset / "none").code == 1


def set_file(bundle, name, content):
    """Put content into a bundle, and into its list."""
    (bundle / name).write_bytes(content)
    change_config(bundle, lambda config: config["flowers"]["files"].update({name: describe(bundle / name)}))


def change_config(bundle, change):
    config = json.loads((bundle / "config.json").read_text())
    change(config)
    (bundle / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config.update(architecture="hf-hub:evil/repo"), "none that timm"),
        (lambda config: config.update(architecture="local-dir:/tmp"), "none that timm"),
        (lambda config: config.update(architecture="resnet18.a1_in1k"), "none that timm"),
        (lambda config: config.update(architecture="\x1b[2J\nx"), "x1b[2J"),
        (lambda config: config.update(architecture="resnet18"), "cannot be loaded as resnet18"),
        (lambda config: config["pretrained_cfg"].update(first_conv=5), "cannot be loaded as"),
        (lambda config: config["pretrained_cfg"].update(std=[1e-300] * 3), "not supported"),
        (lambda config: config["flowers"].pop("embedding_size"), "embedding_size missing"),
        (lambda config: config["flowers"].update(embedding_size=7), "damaged"),
        (lambda config: config["flowers"].update(known={"another": [10**400, 1], "none": None}), "known"),
    ],
)
def test_a_network_that_cannot_be_meant_is_refused(own_bundle, change, words):
    change_config(own_bundle, change)
    bundle = Bundle.load(own_bundle)
    with pytest.raises(BundleError) as caught:
        load_bundle_model(bundle)
    assert words in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "content", [b"junk", struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2) + b"{}", pickle.dumps(print)]
)
def test_weights_of_strangers_are_told_as_damaged(own_bundle, run, content):
    set_file(own_bundle, "model.safetensors", content)
    result = run("eval", own_bundle)
    assert result.code == 1
    assert "cannot be loaded as" in result.err


def test_wrong_split_and_bundle(own_bundle, run, tmp_path):
    assert run("eval", own_bundle, "--split", "testing").code == 2
    assert run("eval", tmp_path).code == 1
