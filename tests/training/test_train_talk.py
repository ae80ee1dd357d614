"""What ``flowers train`` says before, while and after it learns, and of what is typed wrong."""

from __future__ import annotations

import csv
import json

import pytest
from conftest import in_terminal

from flowercli.bundle import Bundle
from flowercli.data.places import manifest_path

pytest.importorskip("torch", reason="needs the extra 'train'")

from flowercli.cli.train_progress import duration
from flowercli.training.config import compose_config, written_out

OPTIONS = ("model=tiny", "loss=ce", "batch_size=16", "num_workers=0", "augment=none")


def in_order(text, *wanted):
    position = 0
    for words in wanted:
        assert words in text[position:], f"'{words}' does not come after {text[:position]}"
        position = text.index(words, position) + len(words)


def test_a_run_says_what_it_does_and_what_comes_next(dataset, tmp_path, run):
    result = run("train", "--data", dataset, *OPTIONS, "lr=1e-9", "epochs=9", "validate_every=1", "patience=2",
                 "plots=true", "--output", tmp_path / "my runs")  # fmt: skip
    assert result.code == 0, result.err
    bundle = Bundle.load(next((tmp_path / "my runs").iterdir()))
    quoted = f"'{bundle.path}'"
    epochs = len(bundle.section["history"])
    assert epochs < 9
    in_order(
        result.err, "test_efficientnet, 9 epochs at most", "3 classes, 120 photographs", "train           108",
        "Warning: no photograph in val of 1 of the classes: blue.", "--stratify", "Loading torch",
        "Record in MLflow: none", "Checking the photographs",
        "Model: test_efficientnet, 0.1 million parameters; weights: random",
        "Device: cpu (", "6 steps an epoch, of 16 photographs", f"Run: {bundle.path}.unfinished", "First step",
        "Epoch 1, step 1 of 6: loss ", "epoch 1/9  loss ",
        f"Stopped early after epoch {epochs}: 2 validations in a row were no better.", "Learning when to refuse",
        "Calibrating", "Asking about the test photographs", "Drawing the figures",
        f"Best on validation after epoch {bundle.section['provenance']['best_epoch']} of {epochs}: accuracy ", " of 6,",
        "Test: accuracy ", "Took ", "the weights are 0.4 MB", f"flowers eval {quoted}\n",
        f"flowers export {quoted} --onnx --int8\n", f"flowers classify PICTURE --model {quoted}\n",
    )  # fmt: skip
    assert bundle.section["metrics"]["test"]["torch"]["photos"] == 6
    evaluated = json.loads(run("eval", bundle.path, "--json").out)["variants"]["torch"]
    assert evaluated == bundle.section["metrics"]["test"]["torch"]
    rows = list(csv.DictReader((bundle.path / "epochs.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, epochs + 1))
    assert float(rows[0]["train_loss"]) == pytest.approx(bundle.section["history"][0]["loss"], rel=1e-5)
    assert "epochs.csv" not in bundle.section["files"]


def test_test_photographs_that_are_gone_cost_no_bundle(own_dataset, tmp_path, run):
    assert run("split", own_dataset).code == 0
    manifest = json.loads(manifest_path(own_dataset).read_text())
    (gone, *_) = [photo["path"] for photo in manifest["photos"] if photo["split"] == "test"]
    (own_dataset / gone).unlink()
    result = run("train", "--data", own_dataset, *OPTIONS, "epochs=1", "--output", tmp_path / "runs")
    assert result.code == 0, result.err
    assert "Warning: The test photographs could not be asked about: 1 of the 6 photographs of 'test'" in result.err
    assert "Test: " not in result.err
    assert set(Bundle.load(next((tmp_path / "runs").iterdir())).section["metrics"]) == {"val"}


def test_a_terminal_shows_a_bar_from_the_start(dataset, tmp_path):
    typed = ["train", "--data", dataset, *OPTIONS, "epochs=1", "--output", tmp_path]
    shown = in_terminal(typed, columns=80, stream="stderr")
    assert shown.code == 0, shown.err
    in_order(shown.err, "Loading torch", "Checking the photographs", "━", "epoch 1/1  loss", "/6", "Best on validation")
    assert shown.out.strip().startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("flower_photos", "lr=1e-3"), "Photographs: flowers train --data flower_photos lr=1e-3"),
        (("{dataset}",), "Photographs: flowers train --data {dataset}"),
        (("--data", "{dataset}", "{dataset}"), "flowers merge DIR DIR --output NEW"),
        (("rexnet_150", "--data", "x"), "A model: flowers train --data x --model rexnet_150"),
        (("runs/x.unfinished",), "flowers train --resume runs/x.unfinished"),
        (("data={dataset}",), "The photographs are named by an option: --data {dataset}"),
        (("model=resnet50",), "--model resnet50"),
        (("model=resnet51",), "resnet50, "),
        (("model=rexnet_15",), "It may be rexnet_150, tf_efficientnet_lite0"),
        (("image_size=64",), "'image_size' may be model.image_size or augment.image_size"),
        (("~optim",), "without the group 'optim'"),
    ],
)
def test_what_was_meant_is_told(dataset, run, arguments, words):
    result = run("train", *(argument.format(dataset=dataset) for argument in arguments))
    assert (result.code, result.out) == (2, "")
    assert words.format(dataset=dataset) in result.err.replace("\n", " ")


def test_without_photographs_it_is_asked_which(run, tmp_path):
    result = run("train", f"data.path={tmp_path / 'none'}")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[-2:] == [
        "flowers train --data DIR", "Without photographs of your own: flowers download dataset",
    ]  # fmt: skip


def test_a_key_that_exists_once_needs_no_group():
    config = compose_config(["lr=0.005", "sampler=balanced", "name=mine", "model=tiny"])
    assert (config.optim.lr, config.data.sampler, config.name) == (0.005, "balanced", "mine")
    as_they_are = ["image_size=3", "optim.lr=1", "+lr=1", "~lr", "lr", "epochs=3"]
    assert written_out(as_they_are) == as_they_are


def test_durations_are_those_that_people_say():
    assert [duration(seconds) for seconds in (0.4, 59.4, 59.6, 605, 7325)] == [
        "0 s", "59 s", "1 min 0 s", "10 min 5 s", "2 h 2 min",
    ]  # fmt: skip
