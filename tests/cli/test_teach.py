"""``flowers teach`` as it is typed: what it tells, what it refuses, and what the other commands make of its bundle."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from support.taught import NEW, teachable, write_new

from flowercli.bundle import EMBEDDINGS, MANIFEST, ONNX_INT8, REFERENCE, Bundle
from flowercli.inference.classifier import Classifier
from flowercli.monitoring.features import identity
from flowercli.monitoring.reference import Reference
from flowercli.teaching.exemplars import Exemplars


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("teach")


@pytest.fixture(scope="module")
def parent(place):
    """Return the model after `flowers reference`, as somebody types it."""
    from flowercli.cli.main import main

    bundle, data, outliers = teachable(place)
    assert main(["reference", str(bundle.path), "--data", str(data), "--outliers", str(outliers)]) == 0
    return Bundle.load(bundle.path)


@pytest.fixture(scope="module")
def new(place):
    return write_new(place / "new")


@pytest.fixture(scope="module")
def mine(place, parent, new):
    from flowercli.cli.main import main

    target = place / "mine"
    arguments = ["teach", "blue thing", str(new / "blue_thing"), "--model", str(parent.path), "--output", str(target)]
    assert main(arguments) == 0
    return Bundle.load(target)


def test_it_names_what_it_was_taught_and_what_it_knew(run, mine, place):
    write_new(place / "more", 3, first=50)
    done = run("classify", place / "more" / "blue_thing", place / "data" / "rose", "--model", mine.path, "--json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    named = [answer["predicted_class"] for answer in answers]
    assert named == ["blue_thing"] * 3 + ["rose"] * 8
    assert sum(answer["rejected"] for answer in answers) <= 1
    assert mine.class_names == ["daisy", "dandelion", "rose", "sunflower", "tulip", "blue_thing"]
    assert mine.scientific_names[-1] is None


def test_it_tells_what_came_of_it(run, parent, new, tmp_path):
    shutil.copytree(new / "blue_thing", tmp_path / "photos")
    shutil.copy(tmp_path / "photos" / "0.jpg", tmp_path / "photos" / "copy.jpg")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    done = run("teach", "blue thing", tmp_path / "photos", "--model", parent.path, "--output", tmp_path / "mine")
    assert done.code == 0
    assert "blue thing: 6 of 6 photographs right." in done.out
    assert "broken.jpg cannot be read: It is not a picture" in done.out
    assert "copy.jpg is a copy of" in done.out or "0.jpg is a copy of" in done.out
    assert "The flowers of before: 40 of 40 photographs right, 100.0 %; 100.0 % before." in done.out
    assert "of 6 pictures without a flower" in done.out
    assert f"flowers classify PHOTO --model {tmp_path / 'mine'}" in done.err
    said = run("teach", "--folder", new, "--model", parent.path, "--output", tmp_path / "two", "--json")
    told = json.loads(said.out)
    assert next(iter(told)) == "version"
    assert [(flower["name"], flower["photos"]) for flower in told["flowers"]] == [(name, 6) for name in NEW]
    assert told["classes"] == 7


def test_other_commands_take_the_bundle(run, mine, parent, place, tmp_path):
    assert run("models", mine.path).code == 0
    mine.verify()
    log = tmp_path / "log.db"
    for _ in range(2):
        assert run("classify", place / "data", "--model", mine.path, "--log", log).code == 0
    done = run("drift", log, "--reference", mine.path, "--json")
    features = json.loads(done.out)["features"]
    assert {feature["verdict"] for feature in features} == {"stable"}
    assert {feature["raw_index"] < 0.01 for feature in features} == {True}
    assert identity(mine) != identity(parent)
    assert len(Reference.read(mine).sample) == 40
    assert MANIFEST not in mine.section["files"]
    assert "metrics" not in mine.section
    assert "blue thing" in (mine.path / "README.md").read_text(encoding="utf-8")
    done = run("export", mine.path, "--delivery", tmp_path / "delivery")
    assert done.code == 0, done.err
    assert run("export", mine.path, "--onnx").code == 2


def test_what_is_taught_on_top_is_as_if_taught_at_once(run, parent, mine, new, place, tmp_path):
    run("teach", "yellow_thing", new / "yellow_thing", "--model", mine.path, "--output", tmp_path / "on_top")
    run("teach", "--folder", new, "--model", parent.path, "--output", tmp_path / "at_once")
    both = [Classifier.open(Bundle.load(tmp_path / name), "cpu") for name in ("on_top", "at_once")]
    for picture in (new / "yellow_thing" / "0.jpg", place / "data" / "tulip" / "1.png"):
        answers = [model.classify(picture, top_k=0) for model in both]
        assert answers[0] == answers[1]


def test_taught_and_forgotten_answers_as_before(run, parent, mine, new, place, tmp_path):
    done = run("teach", "--forget", "blue_thing", "--model", mine.path, "--output", tmp_path / "back")
    assert "blue thing: forgotten, what was taught of it." in done.out
    back = Bundle.load(tmp_path / "back")
    assert back.class_names == parent.class_names
    assert back.rejection_threshold == parent.rejection_threshold
    models = [Classifier.open(bundle, "cpu") for bundle in (parent, back)]
    for picture in (*(new / "blue_thing").iterdir(), *(place / "data" / "daisy").iterdir()):
        pixels = models[0].load(picture).pixels[np.newaxis]
        for one, other in zip(*(model.run(pixels) for model in models), strict=True):
            assert np.array_equal(one, other)
    assert "taught" not in back.section
    kept, those = (Exemplars.read(bundle, ONNX_INT8, 5) for bundle in (back, parent))
    assert np.array_equal(kept.embedding, those.embedding)
    assert np.array_equal(kept.class_index, those.class_index)


def test_a_flower_of_training_is_masked(run, parent, place, tmp_path):
    done = run("teach", "--forget", "rose", "--model", parent.path, "--output", tmp_path / "without")
    assert "rose: is not answered any more; the model was trained on it, so it is masked, not unlearnt." in done.out
    without = Bundle.load(tmp_path / "without")
    assert "rose" not in without.class_names
    assert len(without.class_names) == 4
    models = [Classifier.open(bundle, "cpu") for bundle in (parent, without)]
    before, after = (model.classify(place / "data" / "rose" / "0.png", top_k=0) for model in models)
    assert before.predicted_class == "rose"
    assert after.known < before.known
    assert after.rejected
    assert sum(after.all_predictions.values()) == pytest.approx(1, abs=1e-4)
    tulip = [model.classify(place / "data" / "tulip" / "0.png").predicted_class for model in models]
    assert tulip == ["tulip", "tulip"]


def test_a_better_idea_of_a_flower_adds_no_class(run, parent, new, tmp_path):
    done = run("teach", "roses", new / "blue_thing", "--model", parent.path, "--output", tmp_path / "mine")
    assert "rose (a better idea of it): 6 of 6" in done.out
    better = Bundle.load(tmp_path / "mine")
    assert better.class_names == parent.class_names
    answer = Classifier.open(better, "cpu").classify(new / "blue_thing" / "0.jpg")
    assert answer.predicted_class == "rose"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Nothing is to be taught"),
        (("poppy",), 2, "no photographs are given"),
        (("poppy", "two"), 1, "2 photographs of poppy: at least 3 are needed"),
        (("a/b", "two"), 2, "is no name for a flower"),
        (("poppy", "two", "--folder", "two"), 2, "Either NAME and PHOTOS, or --folder"),
        (("--folder", "nowhere"), 1, "There is no folder nowhere"),
        (("--forget", "poppy"), 2, "does not know 'poppy'"),
        (("poppy", "two", "--output", "two"), 2, "two exists already"),
    ],
)
def test_what_makes_no_sense_is_refused(run, parent, new, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two").mkdir()
    for name in ("0.jpg", "1.jpg"):
        shutil.copy(new / "blue_thing" / name, tmp_path / "two" / name)
    done = run("teach", *arguments, "--model", parent.path)
    assert done.code == code
    assert said in done.err
    assert "flowers" in done.err.splitlines()[-1] or "--output" in done.err
    assert os.listdir(tmp_path) == ["two"]


def test_another_spelling_is_the_same_flower(run, parent, new, tmp_path):
    done = run("teach", "Rose", new / "blue_thing", "--model", parent.path, "--output", tmp_path / "mine")
    assert done.code == 0
    assert Bundle.load(tmp_path / "mine").class_names == ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    done = run("teach", "--forget", "ROSE", "--model", tmp_path / "mine", "--output", tmp_path / "without")
    assert done.code == 0


def test_a_photograph_of_two_flowers_is_refused(run, parent, new, tmp_path):
    for name in ("aster", "zinnia"):
        shutil.copytree(new / "blue_thing", tmp_path / "two" / name)
    done = run("teach", "--folder", tmp_path / "two", "--model", parent.path, "--output", tmp_path / "mine")
    assert done.code == 1
    assert "is given for zinnia, and was for aster." in done.err
    assert "flowers teach --forget aster" in done.err
    assert not (tmp_path / "mine").exists()


def test_too_few_in_one_folder_are_told_before_any_is_looked_at(run, parent, new, tmp_path):
    shutil.copytree(new / "blue_thing", tmp_path / "two" / "aster")
    (tmp_path / "two" / "zinnia").mkdir()
    (tmp_path / "two" / "zinnia" / "1.jpg").write_bytes(b"no picture")
    done = run("teach", "--folder", tmp_path / "two", "--model", parent.path, "--output", tmp_path / "mine")
    assert done.code == 1
    assert "1 photograph of zinnia: at least 3 are needed." in done.err


def test_an_output_that_is_a_link_to_nowhere_is_refused_at_once(run, parent, new, tmp_path):
    (tmp_path / "mine").symlink_to(tmp_path / "nowhere")
    done = run("teach", "poppy", new / "blue_thing", "--model", parent.path, "--output", tmp_path / "mine")
    assert done.code == 2
    assert "exists already" in done.err


def test_figures_of_the_model_before_are_not_those_of_what_was_taught(run, mine, tmp_path):
    assert "metrics" not in mine.section
    done = run("export", mine.path, "--delivery", tmp_path / "delivery", "--json")
    assert done.code == 0
    assert json.loads(done.out)["exports"] == []


def test_a_model_without_embeddings_says_how_to_make_them(run, new, tmp_path):
    bundle, _, _ = teachable(tmp_path)
    done = run("teach", "poppy", new / "blue_thing", "--model", bundle.path, "--output", tmp_path / "mine")
    assert done.code == 1
    assert f"The bundle {bundle.path} has no {EMBEDDINGS}." in done.err
    assert f"flowers reference {bundle.path} --data DIR" in done.err
    assert not (tmp_path / "mine").exists()


def test_reference_without_the_outliers_says_so(run, tmp_path):
    bundle, data, _ = teachable(tmp_path)
    done = run("reference", bundle.path, "--data", data)
    assert done.code == 0
    assert "Without the pictures that show no flower" in done.err
    changed = Bundle.load(bundle.path)
    assert changed.has(EMBEDDINGS)
    assert changed.has(REFERENCE)
