"""Mistakes in a call of ``flowers train``: told before anything starts, all at once, and nothing is written."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from conftest import flowers, start_training

from flowercli.bundle import Bundle

pytest.importorskip("torch", reason="needs the extra 'train'")

from flowercli.training.run_folder import SUFFIX


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("optim.lrr=1",), 2, "no key 'optim.lrr'. Did you mean 'optim.lr'?"),
        (("optim.leraning_rate=1",), 2, "Did you mean 'optim.lr'?"),
        (("imgsz=160",), 2, "Did you mean 'model.image_size'?"),
        (("epochz=1",), 2, "no key 'epochz'. Did you mean 'epochs'?"),
        (("epochs=many",), 2, "epochs"),
        (("epochs=0", "optim.lr=-1"), 2, "optim.lr"),
        (("optim.lr=nan",), 2, "optim.lr"),
        (("model=rexnet_1500",), 2, "rexnet_150"),
        (("optim=",), 2, "optim"),
        (("=",), 2, "configuration is wrong"),
        (("device=tpu",), 2, "choose one of auto, cpu, cuda, mps"),
        (("--model", "resnet_5000"), 1, "timm has no model 'resnet_5000'"),
        (("model.weights=/none",), 1, "no weights at /none"),
        ((), 1, "cannot be had"),
        (("model=tiny", "--batch-size", 5000), 1, "fewer than one batch"),
        (("model=tiny", "distill.teacher=[/none]"), 1, "no model bundle at /none"),
        (("--data", "/none"), 1, "not a folder"),
    ],
)
def test_mistakes_are_told_at_once_and_write_nothing(dataset, tmp_path, run, arguments, code, words):
    data = () if "--data" in arguments else ("--data", dataset)
    result = run("train", *data, "--output", tmp_path / "runs", "num_workers=0", *arguments)
    assert result.code == code, result.err
    assert words in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_without_a_network_one_message_says_what_to_do(dataset, tmp_path):
    nowhere = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    nowhere |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "cache")}
    result = flowers("train", "--data", dataset, "--output", tmp_path / "runs", "num_workers=0", env=nowhere)
    assert result.code == 1
    *_, error, hint = result.err.splitlines()
    assert error.startswith("Error: The ImageNet weights of rexnet_150")
    assert error.endswith(" cannot be had: 127.0.0.1:9 refuses connections.")
    assert "flowers download backbone rexnet_150" in hint
    assert "thrown while requesting" not in result.err


def test_every_mistake_is_told_at_once(dataset, run):
    result = run("train", "--data", dataset, "optim.lrr=1", "epochs=many", "batch_size=1", "augmnt=strong")
    assert result.code == 2
    for words in ("'optim.lrr'. Did you mean 'optim.lr'?", "epochs", "batch_size=1: at least 2", "augmnt"):
        assert words in result.err


def test_loss_that_is_no_number_ends_the_run(dataset, run, tmp_path):
    result = run(
        "train", "--data", dataset, "model=tiny", "loss=ce", "optim.name=sgd", "optim.lr=10", "optim.clip_grad_norm=0",
        "optim.warmup_epochs=0", "optim.head_lr_scale=1e30", "--epochs", 3, "--batch-size", 16, "num_workers=0",
        "precision=fp32", "--output", tmp_path,
    )  # fmt: skip
    assert result.code == 1
    assert "The loss is " in result.err
    assert "lower learning rate" in result.err


@pytest.mark.slow
def test_killed_at_any_moment_leaves_no_broken_bundle(dataset, tmp_path):
    arguments = ("--data", dataset, "model=tiny", "--epochs", 1, "--batch-size", 16, "num_workers=0")
    started = time.monotonic()
    whole = start_training(*arguments, "--output", tmp_path / "whole")
    _, err = whole.communicate(timeout=300)
    assert whole.returncode == 0, err
    duration = time.monotonic() - started
    # Two of three in the last tenth, where the files are written.
    for earliest in (0.3, 0.9, 0.9):
        process = start_training(*arguments, "--output", tmp_path / "killed")
        time.sleep(random.uniform(earliest, 1) * duration)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for path in (tmp_path / "killed").glob("*"):
            if not path.name.startswith(".") and not path.name.endswith(SUFFIX):
                Bundle.load(path).verify()
