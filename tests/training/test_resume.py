"""``flowers train`` stopped at any moment goes on as if it had never stopped; a full disk or memory stops nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import flowers, start_training

from flowercli.bundle import Bundle
from flowercli.errors import TrainingError, UsageError

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from flowercli.training.learner import Learner
from flowercli.training.loop import _resume
from flowercli.training.model import PixelClassifier, create_backbone
from flowercli.training.run_folder import LAST, RunFolder

RECIPE = (
    "model=tiny", "--epochs", 3, "--batch-size", 16, "num_workers=1", "augment=strong", "ema_decay=0.9",
    "validate_every=1", "optim.lr=3e-3", "checkpoint_minutes=0",
)  # fmt: skip


def weights_of(path):
    return Bundle.load(Path(path)).section["files"]["model.safetensors"]["sha256"]


def checkpoint(folder):
    """Return the last checkpoint below ``folder``, if there is one."""
    return next(iter(folder.glob(f"*/{LAST}")), None)


def stop_soon(process, output, number, rng):
    """Send the signal at a random moment after the process has written a checkpoint of its own."""
    started = time.time()
    while process.poll() is None:
        path = checkpoint(output)
        if path is not None and path.stat().st_mtime > started:
            break
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 0.5))
    with contextlib.suppress(ProcessLookupError):  # It was done before it could be stopped.
        if number == signal.SIGTERM:
            os.killpg(process.pid, number)  # As a job scheduler does, to the data workers too.
        else:
            process.send_signal(number)
    return process.communicate(timeout=300)[1]


@pytest.mark.slow
def test_stopped_run_ends_with_the_weights_of_one_that_was_not(dataset, tmp_path):
    whole = flowers("train", "--data", dataset, *RECIPE, "--output", tmp_path / "whole")
    assert whole.code == 0, whole.err
    output, rng = tmp_path / "stopped", random.Random()
    ends = {0}
    process = start_training("--data", dataset, *RECIPE, "--output", output)
    for number in rng.sample((signal.SIGKILL, signal.SIGINT, signal.SIGTERM), 3):
        err = stop_soon(process, output, number, rng)
        if checkpoint(output) is None:
            ends = {0, 130, -number}
            break  # Its bundle was there before it could be stopped.
        if number != signal.SIGKILL:
            assert process.returncode == 130, err
            assert "Everything is saved" in err
            assert f"flowers train --resume {checkpoint(output).parent}" in err
        assert "Traceback" not in err
        process = start_training("--resume", checkpoint(output).parent)
    out, err = process.communicate(timeout=300)
    finished = Path(out.strip()) if out else next(output.iterdir())
    assert process.returncode in ends, err
    assert weights_of(finished) == weights_of(whole.out.strip())
    assert len(Bundle.load(finished).section["history"]) == 3
    assert os.listdir(output) == [finished.name]


@pytest.fixture(scope="session")
def unfinished(dataset, made_once):
    """Return a run that was interrupted; not to be changed."""

    def make(output):
        process = start_training("--data", dataset, *RECIPE, "--epochs", 400, "--output", output)
        stop_soon(process, output, signal.SIGINT, random.Random())
        return checkpoint(output).parent

    return made_once("unfinished", make)


@pytest.fixture(scope="module")
def learner(unfinished):
    """Return a fresh learner for that run."""
    run = RunFolder.open(unfinished)
    backbone = create_backbone(replace(run.config.model, pretrained=False), len(run.manifest.class_names))
    model = PixelClassifier(backbone, run.pretrained_cfg)
    return Learner(run.config, model, [], list(run.manifest.counts("train").values()), 5, print)


def test_unfinished_run_is_no_bundle_and_resumes_only_as_it_was(unfinished, run):
    assert run("classify", "x.jpg", "--model", unfinished).code == 1
    for more in (("--epochs", 5), ("optim.lr=1",), ("--model", "tiny")):
        result = run("train", "--resume", unfinished, *more)
        assert result.code == 2
        assert "keeps its configuration" in result.err


def test_checkpoint_loads_without_pickled_code(unfinished):
    state = torch.load(unfinished / LAST, weights_only=True)
    assert state["progress"]["epoch"] >= 1
    assert set(state["learner"]) >= {"model", "average", "optimizer", "schedule", "micro_batch"}


def test_nothing_to_resume(run, tmp_path, trained):
    assert run("train", "--resume", tmp_path / "none").code == 2
    assert run("train", "--resume", "--output", tmp_path).code == 2
    finished = run("train", "--resume", trained)
    assert finished.code == 2
    assert "is finished" in finished.err


def test_a_run_looks_nothing_up(unfinished, run, tmp_path, monkeypatch):
    copy = shutil.copytree(unfinished, tmp_path / "copy.unfinished")
    recorded = json.loads((copy / "run.json").read_text())
    for change in ({"output": "${oc.env:SECRET}"}, {"batch_size": -3}, {"output": {"${oc.env:SECRET}": 1}}):
        changed = {**recorded, "config": {**recorded["config"], **change}}
        (copy / "run.json").write_text(json.dumps(changed))
        monkeypatch.setenv("SECRET", "told-to-nobody")
        result = run("train", "--resume", copy)
        assert (result.code, "is damaged" in result.err) == (1, True)
        assert "told-to-nobody" not in result.err


def test_damaged_checkpoint_is_told(unfinished, run, tmp_path):
    copy = shutil.copytree(unfinished, tmp_path / unfinished.name)
    whole = (copy / LAST).read_bytes()
    (copy / LAST).write_bytes(whole[: len(whole) // 2])
    result = run("train", "--resume", copy)
    assert result.code == 1
    assert f"{copy / LAST} is damaged" in result.err


@pytest.mark.parametrize(
    "change",
    [
        {"identity": 5}, {"identity": "/../.."}, {"identity": "0" * 33}, {"versions": []}, {"versions": {"torch": 2}},
        {"pretrained_cfg": 5}, {"pretrained_cfg": {"mean": "x"}}, {"config": [1]}, {"config": 5},
    ],
)  # fmt: skip
def test_damaged_record_of_a_run_is_told(unfinished, tmp_path, change):
    copy = shutil.copytree(unfinished, tmp_path / unfinished.name)
    recorded = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(recorded | change))
    with pytest.raises(TrainingError, match=r"run\.json is damaged"):
        RunFolder.open(copy)


def test_a_pipe_as_manifest_of_a_run_is_told(unfinished, tmp_path):
    copy = shutil.copytree(unfinished, tmp_path / unfinished.name)
    (copy / "split.json").unlink()
    os.mkfifo(copy / "split.json")
    with pytest.raises(TrainingError, match="not a plain file"):
        RunFolder.open(copy)


def test_a_run_goes_on_where_it_is_now(unfinished, tmp_path):
    """Nothing is written where it once was, or where a stranger's says."""
    copy = shutil.copytree(unfinished, tmp_path / "moved.unfinished")
    recorded = json.loads((copy / "run.json").read_text())
    recorded["config"]["output"] = str(tmp_path / "elsewhere")
    (copy / "run.json").write_text(json.dumps(recorded))
    opened = RunFolder.open(copy)
    assert Path(opened.config.output) == opened.target.parent == tmp_path


def test_a_run_whose_photographs_moved_says_so_and_goes_on(unfinished, dataset, tmp_path, run):
    copy = shutil.copytree(unfinished, tmp_path / "my run.unfinished")
    recorded = json.loads((copy / "run.json").read_text())
    recorded["config"]["data"]["path"] = str(tmp_path / "gone")
    (copy / "run.json").write_text(json.dumps(recorded))
    done = run("train", "--resume", copy)
    assert done.code == 1
    assert f"no longer at {tmp_path / 'gone'}" in done.err
    assert f"flowers train --resume '{copy}' --data DIR" in done.err
    there = RunFolder.open(copy).moved(Path(dataset), None)
    there.check_places()
    assert there.config.data.path == str(dataset)
    with pytest.raises(UsageError, match="started without outliers"):
        there.moved(None, tmp_path)
    other = shutil.copytree(dataset, tmp_path / "other")
    photo = other / there.manifest.of_split("train")[0].path
    photo.write_bytes(photo.read_bytes() + b" ")
    assert "were edited since" in run("train", "--resume", copy, "--data", other).err
    recorded["config"]["data"]["path"] = str(other)
    (copy / "run.json").write_text(json.dumps(recorded))
    done = run("train", "--resume", copy)
    assert f"start a new run: flowers split {other}, then flowers train …" in done.err
    done = run("train", "--resume", copy, "--data", dataset, f"distill.teacher=[{tmp_path}/gone]")
    assert "'distill.teacher=[BUNDLE]'" in done.err


def changed(part, *keys, value):
    """Return what puts a value deep into a state."""

    def change(state):
        place = state[part]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(learner="x"),
        lambda state: state.update(progress=[1]),
        lambda state: state.pop("progress"),
        changed("learner", "model", value="x"),
        changed("learner", "average", value=None),
        changed("learner", "schedule", "optimizer", value="x"),
        changed("learner", "optimizer", "param_groups", 0, "lr", value="x"),
        changed("learner", "optimizer", "state", 0, value={"exp_avg": torch.zeros(1, 2, 3, 4, 5)}),
        changed("learner", "micro_batch", value=0),
        changed("progress", "best_accuracy", value="x"),
        changed("progress", "steps_done", value=-1),
        changed("progress", "history", value=[{"epoch": 10**9}]),
    ],
)
def test_checkpoint_of_another_form_is_told(unfinished, tmp_path, learner, change):
    copy = shutil.copytree(unfinished, tmp_path / unfinished.name)
    state = torch.load(copy / LAST, weights_only=True)
    change(state)
    torch.save(state, copy / LAST)
    with pytest.raises(TrainingError, match=r"last\.pt is damaged"):
        _resume(learner, RunFolder.open(copy))


@pytest.mark.parametrize("state", [[1], print, {"a": 1}])
def test_what_is_no_checkpoint_is_told(unfinished, tmp_path, learner, state):
    copy = shutil.copytree(unfinished, tmp_path / unfinished.name)
    torch.save(state, copy / LAST)
    with pytest.raises(TrainingError, match=r"last\.pt is damaged"):
        _resume(learner, RunFolder.open(copy))


def test_other_versions_are_told(unfinished, tmp_path):
    copy = shutil.copytree(unfinished, tmp_path / unfinished.name)
    recorded = json.loads((copy / "run.json").read_text())
    recorded["versions"]["timm"] = "0.1"
    (copy / "run.json").write_text(json.dumps(recorded))
    assert RunFolder.open(copy).changed_versions()[0].startswith("timm 0.1 → ")


@pytest.mark.slow
def test_full_disk_keeps_the_checkpoint_before_and_the_run_can_finish(dataset, tmp_path):
    """A limit on the size of files stands for the disk: it is met in the middle of the run, then lifted."""
    output = tmp_path / "runs"
    # Without data workers, whose shared memory the limit would hit too.
    recipe = ["num_workers=0" if part == "num_workers=1" else part for part in RECIPE]
    process = start_training("--data", dataset, *recipe, "--output", output)
    while checkpoint(output) is None:
        assert process.poll() is None
        time.sleep(0.02)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    out, err = process.communicate(timeout=240)
    assert (process.returncode, out) == (1, ""), err
    assert "could not be written" in err
    assert "Traceback" not in err
    assert "Free some space, then: flowers train --resume" in err
    folder = checkpoint(output).parent
    resumed = flowers("train", "--resume", folder)
    assert resumed.code == 0, resumed.err
    Bundle.load(Path(resumed.out.strip())).verify()


OUT_OF_MEMORY = """
import resource, sys, torch
from flowercli.training.config import compose_config
from flowercli.training.learner import Learner
from flowercli.training.model import PixelClassifier, create_backbone, resolved_cfg
config = compose_config(["model=tiny", "loss=ce", "batch_size=128", "precision=fp32", "augment=none"])
backbone = create_backbone(config.model, 3)
model = PixelClassifier(backbone, resolved_cfg(backbone, config.model, 3))
learner = Learner(config, model, [], [1, 1, 1], 1, print)
pixels, targets = torch.zeros((128, 3, 288, 288), dtype=torch.uint8), torch.zeros(128, dtype=torch.int64)
learner.model.train()
learner.update(pixels[:2], targets[:2], 1, 1)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 900 * 2**20,) * 2)
loss = learner.update(pixels, targets, 1, 1)
print("loss", loss, "parts of", learner.micro_batch)
"""


def test_batch_that_memory_does_not_hold_is_taken_in_parts():
    import sys

    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said, last = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert said.startswith("Out of memory: from now on 64 photographs at a time")
    assert last.startswith("loss ")
    assert int(last.split()[-1]) < 128
