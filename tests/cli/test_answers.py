"""What an answer says: when it is rejected and why, among which flowers it is, and in which words."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from conftest import SAMPLES, in_terminal
from support.colour_model import GREY, NAMES, PALE, PURE, SIZE, colour_bundle, write_colours

from flowercli.errors import UsageError
from flowercli.inference.classifier import Classifier, answerable, parse_only
from flowercli.models import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the bundle of the model of colours, and pictures: known, perhaps known, unknown."""
    folder = tmp_path_factory.mktemp("colours")
    return colour_bundle(folder / "model"), write_colours(folder / "pictures")


@pytest.fixture(scope="module")
def classifier(model):
    return Classifier.open(model[0])


def of_colours(classifier, *colours):
    """Return what the graph says of pictures of one colour each."""
    return classifier.run(np.stack([np.full((SIZE, SIZE, 3), colour, dtype=np.uint8) for colour in colours]))


def asked(run, pictures, *options):
    result = run("classify", *pictures, "--json", *options)
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


def test_graph_says_how_sure_it_knows_the_flower(classifier):
    outputs = of_colours(classifier, PURE, PALE, GREY)
    assert outputs.known.tolist() == pytest.approx([1, 0.549, 0], abs=1e-3)
    assert (outputs.known.dtype, outputs.known.shape, outputs.embedding.shape) == (np.float32, (3,), (3, 3))


def test_largest_probability_stands_in_where_a_graph_does_not_say(tmp_path):
    outputs = of_colours(Classifier.open(colour_bundle(tmp_path / "b", known=False)), PURE, GREY)
    assert (outputs.known == outputs.probabilities.max(axis=1)).all()
    assert outputs.known[1] == pytest.approx(1 / 3)


def test_answer_and_its_reason(model, run):
    bundle, pictures = model
    sure, unsure, unknown = asked(run, pictures, "--model", bundle.path)
    assert (sure["predicted_class"], sure["scientific_name"], sure["class_index"]) == ("red_rose", "Rosa", 0)
    assert [answer["reason"] for answer in (sure, unsure, unknown)] == [None, "unsure", "not_a_known_flower"]
    assert [answer["rejected"] for answer in (sure, unsure, unknown)] == [False, True, True]
    # The confidence alone would let it pass.
    assert unsure["confidence"] > 0.9


def test_limits_of_the_rule(classifier):
    shares = np.array([0.9, 0.1, 0], dtype=np.float32)
    reasons = [classifier.prediction(shares, known).reason for known in (0.6, 0.5999, 0.5, 0.4999)]
    assert reasons == [None, "unsure", "unsure", "not_a_known_flower"]


def test_only_lowers_what_is_known_by_what_lies_outside(classifier):
    shares = np.array([0.5, 0.25, 0.25], dtype=np.float32)
    whole = classifier.prediction(shares, 0.96)
    answer = classifier.answering_only(["blue_iris", "red_rose"]).prediction(shares, 0.96)
    assert (whole.known, whole.rejected) == (0.96, False)
    assert answer.all_predictions == {
        "red_rose": pytest.approx(2 / 3, abs=1e-6),
        "blue_iris": pytest.approx(1 / 3, abs=1e-6),
    }
    assert (answer.known, answer.rejected, answer.reason) == (0.96, False, None)
    alone = classifier.answering_only(["blue_iris"]).prediction(shares, 0.96)
    assert (alone.predicted_class, alone.scientific_name, alone.class_index) == ("blue_iris", "Iris", 2)
    assert (alone.confidence, alone.known, alone.reason) == (1, 0.48, "not_a_known_flower")


def test_only_of_all_changes_nothing(classifier):
    shares, known = (values[0] for values in of_colours(classifier, PALE)[::2])
    restricted = classifier.answering_only(NAMES)
    ours, theirs = (asked.prediction(shares, known) for asked in (restricted, classifier))
    assert ours.all_predictions == pytest.approx(theirs.all_predictions, abs=1e-6)
    assert ours._replace(all_predictions={}, confidence=0) == theirs._replace(all_predictions={}, confidence=0)


def test_only_without_any_probability_is_even(classifier):
    answer = classifier.answering_only(NAMES[1:]).prediction(np.array([1, 0, 0], dtype=np.float32), 0.9)
    assert (answer.all_predictions, answer.known) == ({"green_hellebore": 0.5, "blue_iris": 0.5}, 0)


def test_restricted_one_can_be_restricted_further_and_not_widened(classifier):
    two = classifier.answering_only(["blue iris", "red_rose", "red rose"])
    assert (two.answerable, two.is_restricted, classifier.is_restricted) == (["red_rose", "blue_iris"], True, False)
    assert two.answering_only(["blue_iris"]).answerable == ["blue_iris"]
    with pytest.raises(UsageError, match="'green_hellebore'"):
        two.answering_only(["green_hellebore"])


def test_only_is_read_as_it_is_typed():
    assert parse_only(" daisy, lily of the valley ,daisy,,") == ["daisy", "lily of the valley"]
    assert parse_only(" , ") == []


def test_names_that_only_cannot_take(model):
    bundle, _ = model
    assert answerable(bundle, ["blue iris", "red_rose"]) == ["red_rose", "blue_iris"]
    with pytest.raises(UsageError, match=r"'Red roses'\. The nearest: red_rose\.") as refused:
        answerable(bundle, ["blue_iris", "Red roses"])
    assert refused.value.hint.startswith(f"flowers models {bundle.path} ")
    with pytest.raises(UsageError, match="No flower"):
        answerable(bundle, [])
    with pytest.raises(UsageError) as refused:
        answerable(load_model(None), ["xyz"])
    assert refused.value.message == "The model does not answer 'xyz'."
    assert refused.value.hint.startswith(f"flowers models {load_model(None).path.name} ")


def test_only_on_the_command_line(model, run):
    bundle, pictures = model
    sure, _, unknown = asked(run, pictures, "--model", bundle.path, "--only", "red_rose, blue iris")
    assert (sure["class_index"], list(sure["all_predictions"])) == (0, ["red_rose", "blue_iris"])
    assert unknown["reason"] == "not_a_known_flower"
    (other,) = asked(run, pictures[:1], "--model", bundle.path, "--only", "blue_iris")
    assert (other["predicted_class"], other["class_index"], other["rejected"]) == ("blue_iris", 2, True)
    for only, said in (("red_roze", "The nearest: red_rose"), (",", "No flower")):
        result = run("classify", *pictures, "--model", bundle.path, "--only", only)
        assert (result.code, result.out) == (2, "")
        assert said in result.err
        assert "flowers models" in result.err


def test_only_restricts_the_model_that_was_opened_ahead(run):
    (answer,) = asked(run, [SAMPLES / "rose.jpg"], "--only", "daisy,tulip")
    assert answer["rejected"]
    assert set(answer["all_predictions"]) == {"daisy", "tulip"}


def test_five_classes_or_as_many_as_asked_for(classifier):
    wide = Classifier(classifier.bundle, classifier._session, classifier.runtime)
    wide._class_names, wide._scientific_names = [f"c{number}" for number in range(9)], [None] * 9
    shares = np.arange(9, dtype=np.float32) / 36
    listed = [list(wide.prediction(shares, 1.0, *top_k).all_predictions) for top_k in ((), (2,), (0,), (99,))]
    assert listed[0] == ["c8", "c7", "c6", "c5", "c4"]
    assert [len(names) for names in listed] == [5, 2, 9, 9]


def test_why_it_is_rejected_in_a_pipe(model, run):
    bundle, pictures = model
    rows = [line.split("\t") for line in run("classify", *pictures, "--model", bundle.path).out.splitlines()]
    assert [row[3:] for row in rows] == [[], ["unsure"], ["not_a_known_flower"]]


def test_table_says_in_words_what_is_rejected(model):
    bundle, pictures = model
    shown = in_terminal(["classify", *pictures, "-m", bundle.path], 120).out
    for said in (
        "not sure;",
        "most like red rose, 98 %",
        "none of the 3 flowers I know;",
        "the nearest is red rose, 33 %",
    ):
        assert said in shown
    only = ["classify", *pictures, "-m", bundle.path, "--only"]
    assert "none of the 2 flowers asked about;" in in_terminal([*only, "green_hellebore,blue_iris"], 120).out
    assert "not blue iris" in in_terminal([*only, "blue_iris"], 120).out


def test_table_fits_every_terminal(model):
    bundle, pictures = model
    for columns in (50, 80, 99, 100, 160):
        shown = in_terminal(["classify", *pictures, "none.jpg", "-m", bundle.path], columns).out
        assert all(len(line) <= columns for line in shown.splitlines()), shown
        assert ("Scientific name" in shown) == (columns >= 100)
        # The bar stands below its title, in rejected rows too.
        lines = shown.splitlines()
        starts = {found.start() for line in lines if (found := re.search("[█░]", line))}
        assert starts == {lines[0].index("Confidence")}


def test_neither_numbers_nor_nearest_names_cost_an_import(run):
    sys.modules.pop("difflib", None)
    assert run("classify", SAMPLES / "rose.jpg", "--only", "rose,daisy").code == 0
    assert "difflib" not in sys.modules


def test_flowers_of_a_model(model, run):
    bundle, _ = model
    listed = json.loads(run("models", bundle.path, "--json").out)
    assert listed["flowers"][:2] == [
        {"class_name": "red_rose", "scientific_name": "Rosa"},
        {"class_name": "green_hellebore", "scientific_name": None},
    ]
    table = run("models", bundle.path).out
    assert [line.split() for line in table.splitlines() if "red" in line] == [["red", "rose", "red_rose", "Rosa"]]
    missing = run("models", "gardenn")
    assert (missing.code, missing.out) == (1, "")
    assert "The nearest: garden." in missing.err
