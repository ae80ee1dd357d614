"""``flowers eval --find-label-errors``: exchanged labels are found, and a model that cannot judge says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cleanlab", reason="needs the extra 'train'")

from flowercli.bundle import MANIFEST, ONNX, Bundle, add_files
from flowercli.data.manifest import Manifest
from flowercli.data.scan import MANIFEST_FILE
from flowercli.evaluation.label_errors import out_of_fold

EXCHANGED = (("blue", "green", "003"), ("green", "reds", "017"), ("reds", "blue", "031"))


@pytest.fixture
def mislabelled(own_dataset):
    """Return a dataset with three photographs in the wrong folder, and their paths."""
    for true, wrong, number in EXCHANGED:
        (own_dataset / true / f"{number}.jpg").rename(own_dataset / wrong / f"wrong-{number}.jpg")
    return own_dataset, {f"{wrong}/wrong-{number}.jpg": true for true, wrong, number in EXCHANGED}


def adopt(bundle, dataset, run):
    """Split a dataset and give its manifest to a bundle."""
    assert run("split", dataset).code == 0
    add_files(Bundle.load(bundle), {MANIFEST: Path(shutil.copy(dataset / MANIFEST_FILE, bundle.parent))})


def test_exchanged_labels_are_found(own_bundle, mislabelled, run):
    dataset, wrong = mislabelled
    adopt(own_bundle, dataset, run)
    before = (own_bundle / "config.json").read_bytes()
    result = run("eval", own_bundle, "--find-label-errors", "--data", dataset, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["photos"] == 120
    assert found["out_of_fold_accuracy"] > 0.9
    rows = found["label_errors"]
    assert {row["path"]: row["looks_like"] for row in rows[:3]} == wrong
    assert len(rows) < 10
    assert [row["label_probability"] for row in rows] == sorted(row["label_probability"] for row in rows)
    for row in rows:
        assert row["labelled"] == row["path"].partition("/")[0] != row["looks_like"]
        assert row["probability"] > row["label_probability"]
    assert (own_bundle / "config.json").read_bytes() == before
    table = run("eval", own_bundle, "--find-label-errors", "--data", dataset)
    for word in (*wrong, "Looks like", "Probability", f"{len(rows)} of 120 labels"):
        assert word in table.out, word
    assert "fewer errors than there are" in table.err
    assert "too weak" not in table.err


def test_no_photograph_is_judged_by_its_own_label():
    # Embeddings that say nothing about the label: whoever saw the label would know it.
    generator = np.random.default_rng(0)
    embeddings = generator.normal(0, 1, (60, 200)).astype(np.float32)
    targets = np.arange(60) % 3
    probabilities = out_of_fold(embeddings, targets)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities.argmax(axis=1) == targets).mean() < 0.6


def test_labels_that_fit_nothing_are_blamed_on_the_model(own_bundle, own_dataset, run):
    for number in range(0, 40, 2):
        for source, target in (("blue", "green"), ("green", "reds"), ("reds", "blue")):
            (own_dataset / source / f"{number:03}.jpg").rename(own_dataset / target / f"{source}-{number}.jpg")
    adopt(own_bundle, own_dataset, run)
    result = run("eval", own_bundle, "--find-label-errors", "--data", own_dataset)
    assert result.code == 0, result.err
    assert "too weak to judge" in result.err


def test_what_is_needed(trained, own_bundle, own_dataset, run, tmp_path):
    lone = shutil.copy(trained / ONNX, tmp_path / "lone.onnx")
    for model, reason in ((lone, "lone .onnx"), ("flowers5", "torch weights")):
        result = run("eval", model, "--find-label-errors", "--data", own_dataset)
        assert result.code == 1
        assert reason in result.err
    for path in sorted((own_dataset / "blue").iterdir())[4:]:
        path.unlink()
    missing = run("eval", own_bundle, "--find-label-errors", "--data", own_dataset)
    assert missing.code == 1
    assert "--data DIR" in missing.err
    adopt(own_bundle, own_dataset, run)
    assert len(Manifest.read(own_bundle / MANIFEST).photos) == 84
    few = run("eval", own_bundle, "--find-label-errors", "--data", own_dataset)
    assert few.code == 1
    assert "'blue' has 4 photographs" in few.err
