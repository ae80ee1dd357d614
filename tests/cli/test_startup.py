"""The shipped model is opened while the command line is read, where the arguments can mean no other."""

from __future__ import annotations

import pytest
from conftest import SAMPLES, flowers

from flowercli.cli.startup import open_ahead

ROSE = str(SAMPLES / "rose.jpg")


@pytest.mark.parametrize("options", [[], ["--json"], ["-v", "--top-k", "2"], ["--only", "rose"], ["--"]])
def test_model_that_ships_is_opened_ahead(options):
    classifier = open_ahead(["classify", *options, ROSE]).take()
    assert classifier.bundle.path.name == "garden"
    assert classifier.classify(ROSE).predicted_class == "rose"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["classify"],
        ["eval", ROSE],
        ["classify", "--help"],
        ["classify", "-m", "flowers5", ROSE],
        ["classify", ROSE, "--model=flowers5"],
        ["classify", "-mflowers5", ROSE],
        ["classify", "--device", "cpu", ROSE],
        ["classify", "--jsno", ROSE],
    ],
)
def test_nothing_is_opened_that_may_not_be_wanted(arguments):
    assert open_ahead(arguments) is None


def test_device_that_cannot_be_had_is_told_once(tmp_path):
    done = flowers("classify", ROSE, env={"FLOWERS_DEVICE": "gpu", "FLOWERS_HOME": str(tmp_path)})
    assert (done.code, done.out) == (2, "")
    assert done.err.count("FLOWERS_DEVICE=gpu") == 1
    assert "Traceback" not in done.err


def test_mistakes_end_at_once_while_the_model_is_opened():
    for arguments in (["--top-k", "many", ROSE], ["--top-k", "-1", ROSE], ["--only", "roze", ROSE]):
        done = flowers("classify", *arguments)
        assert (done.code, done.out) == (2, "")
        assert "Traceback" not in done.err


def test_it_ends_up_where_the_command_opens_it(run):
    assert run("classify", ROSE, "--json").out == run("classify", ROSE, "--json", "--model", "garden").out
