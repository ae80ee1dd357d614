"""``flowers eval A --against B``: McNemar's exact test, paired intervals, and no comparison that flatters."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from scipy.stats import binomtest

from flowercli.bundle import MANIFEST, ONNX, Bundle, add_files, to_json
from flowercli.data.manifest import Manifest, entry_table
from flowercli.description import ONNX_METADATA_KEY
from flowercli.evaluation.comparison import Comparison, Side, difference_interval, mcnemar
from flowercli.evaluation.intervals import interval


@given(st.integers(0, 400), st.integers(0, 400))
def test_p_value_is_that_of_the_binomial_test(only_a, only_b):
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_p_value_by_hand():
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1
    assert mcnemar(1, 7) == mcnemar(7, 1) == 2 * (1 + 8) / 2**8
    assert mcnemar(0, 6) == 2 / 2**6
    assert mcnemar(3000, 2000) == pytest.approx(binomtest(3000, 5000).pvalue)


def test_interval_of_the_difference_is_paired():
    generator = np.random.default_rng(0)
    right_a = generator.random(800) < 0.9
    right_b = right_a & (generator.random(800) < 0.97)  # never right where A is wrong
    found = difference_interval(right_a, right_b)
    differences = right_a.astype(float) - right_b
    assert found["value"] == pytest.approx(differences.mean(), abs=1e-6)
    half = 1.96 * differences.std() / np.sqrt(800)
    assert found["high"] - found["low"] == pytest.approx(2 * half, rel=0.1)
    same = difference_interval(right_a, right_a)
    assert same == {"value": 0, "low": 0, "high": 0}


@pytest.mark.parametrize(
    ("only_a", "only_b", "words"),
    [
        (4, 2, "The difference of 1.7 points is within chance (p = 0.69)."),
        (12, 1, "A is better by 9.2 points, which is more than chance explains (p = 0.0034)."),
        (1, 30, "B is better by 24.2 points, which is more than chance explains (p < 0.001)."),
        (3, 3, "They are right equally often (p = 1)."),
        (0, 0, "They are right equally often (p = 1)."),
    ],
)
def test_conclusion(trained, only_a, only_b, words):
    side = Side(Bundle.load(trained), "int8", 0, interval(0, 0, 0))
    difference = interval((only_a - only_b) / 120, 0, 0)
    p_value = mcnemar(only_a, only_b)
    comparison = Comparison("test", 120, side, side, 80, only_a, only_b, difference, p_value, training_known=True)
    assert comparison.conclusion == words
    assert comparison.neither == 120 - 80 - only_a - only_b


def lone_onnx(bundle, target, **changes):
    """Write the fp32 graph of a bundle as a lone file, with changes to its description."""
    import onnx

    graph = onnx.load(bundle / ONNX)
    config = next(entry for entry in graph.metadata_props if entry.key == ONNX_METADATA_KEY)
    config.value = to_json({**json.loads(config.value), **changes})
    onnx.save(graph, target)
    return target


def with_splits(bundle, change):
    """Give a bundle a manifest whose splits are those of ``change``."""
    manifest = Manifest.read(bundle / MANIFEST)
    photos = entry_table(dataclasses.replace(photo, split=change[photo.split]) for photo in manifest.photos)
    path = bundle.parent / "changed.json"
    path.write_text(dataclasses.replace(manifest, photos=photos).to_json(), encoding="utf-8")
    add_files(Bundle.load(bundle), {MANIFEST: path})
    return bundle


def test_counts_and_what_it_prints(trained, run, tmp_path):
    # The same network with two of its names exchanged is wrong wherever the true one names these rightly.
    blue, green, reds = Bundle.load(trained).class_names
    other = lone_onnx(trained, tmp_path / "other.onnx", label_names=[green, blue, reds])
    result = run("eval", trained, "--against", other, "--split", "val", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    photos = [photo for photo in Manifest.read(trained / MANIFEST).photos if photo.split == "val"]
    assert found["photos"] == len(photos) == sum(found[key] for key in ("both", "only_a", "only_b", "neither"))
    assert found["a"]["right"] == found["both"] + found["only_a"]
    assert found["b"]["right"] == found["both"] + found["only_b"]
    assert found["both"] <= sum(photo.class_name == reds for photo in photos)
    assert found["only_a"] > found["only_b"]
    assert found["p_value"] == pytest.approx(mcnemar(found["only_a"], found["only_b"]))
    assert found["difference"]["value"] == pytest.approx(
        (found["a"]["right"] - found["b"]["right"]) / len(photos), abs=1e-6
    )
    assert (found["a"]["variant"], found["b"]["variant"]) == ("int8", "onnx")
    assert found["training_known"] is True  # other.onnx still says which manifest it was trained with
    table = run("eval", trained, "--against", other, "--split", "val")
    for words in ("Only A is right", "Accuracy of A minus B: +", found["conclusion"], "other.onnx"):
        assert words in table.out, words
    assert "does not say" not in table.err


def test_nothing_is_recorded_and_a_bundle_equals_itself(own_bundle, trained, run):
    before = (own_bundle / "config.json").read_bytes()
    result = run("eval", own_bundle, "--against", trained)
    assert result.code == 0, result.err
    assert "They are right equally often (p = 1)." in result.out
    assert (own_bundle / "config.json").read_bytes() == before


def test_bundle_trained_on_the_photographs_is_refused(trained, own_bundle, run):
    other = with_splits(own_bundle, {"train": "test", "val": "val", "test": "train"})
    result = run("eval", trained, "--against", other)
    assert result.code == 1
    count = Manifest.read(trained / MANIFEST).counts("test")
    assert f"B was trained on {sum(count.values())} of the {sum(count.values())} photographs" in result.err
    assert "flatter B" in result.err
    assert "flowers-split.json" in result.err
    assert not result.out
    assert run("eval", trained, "--against", other, "--split", "val").code == 0


def test_unknown_training_photographs_are_said(trained, run, tmp_path):
    section = {**Bundle.load(trained).section, "provenance": {"manifest_sha256": "of another"}, "files": {}}
    other = lone_onnx(trained, tmp_path / "other.onnx", flowers=section)
    result = run("eval", trained, "--against", other)
    assert result.code == 0, result.err
    assert "does not say which photographs it was trained on" in result.err


def test_what_cannot_be_compared(trained, run, tmp_path):
    other_classes = run("eval", trained, "--against", "flowers5")
    assert other_classes.code == 2
    assert "knows 3 classes" in other_classes.err
    assert "flowers5 5; blue is one of one alone" in other_classes.err
    training = run("eval", trained, "--against", trained, "--split", "train")
    assert training.code == 2
    assert "--split test" in training.err
    assert run("eval", trained, "--against", tmp_path).code == 1
    assert run("eval", trained, "--against", trained, "--find-label-errors").code == 2
    lone = shutil.copy(trained / ONNX, tmp_path / "lone.onnx")
    assert run("eval", lone, "--against", trained).code == 1
