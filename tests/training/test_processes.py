"""``flowers train`` in several processes, started by itself and by torchrun: what one gives, stopped and killed too."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import flowers, start_training, untracked
from support.forked import forked_program

from flowercli.bundle import WEIGHTS, Bundle
from flowercli.data.manifest import Manifest, class_indices
from flowercli.data.places import manifest_path

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

import psutil
from safetensors.torch import load_file

from flowercli.training.config import compose_config
from flowercli.training.mixing import Mixer
from flowercli.training.parts import Share, part_sizes
from flowercli.training.run_folder import SUFFIX
from flowercli.training.sampler import EpochSampler

BATCH, SEED = 16, 2024
# All that could depend on which process computes what: pairs, mixtures, what is dropped, frozen layers, averages.
RECIPE = (
    "model=tiny", "--epochs", 3, "--batch-size", BATCH, "micro_batch=4", "num_workers=1", f"seed={SEED}",
    "precision=fp32", "optim.name=sgd", "optim.lr=3e-3", "optim.freeze_epochs=1", "optim.freeze_stages=1",
    "loss=supcon", "augment=strong", "model.drop_rate=0.2", "model.drop_path_rate=0.2", "ema_decay=0.9",
    "validate_every=1", "patience=0", "checkpoint_minutes=0",
)  # fmt: skip
# Other numbers of threads add up in another order.
ONE_THREAD = {**os.environ, "FLOWERS_THREADS": "1"}


@pytest.fixture(scope="session")
def alone(dataset, made_once):
    """Return the bundle of one process."""

    def make(output):
        done = flowers("train", "--data", dataset, *RECIPE, "--output", output, env=ONE_THREAD)
        assert done.code == 0, done.err
        return Path(done.out.strip())

    return made_once("alone", make)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Let every process compute as the one alone did."""
    monkeypatch.setenv("FLOWERS_THREADS", "1")


def assert_same(bundle, alone):
    ours, theirs = (Bundle.load(Path(each)) for each in (bundle, alone))
    for mine, other in zip(ours.section["history"], theirs.section["history"], strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], abs=1e-6)
        assert mine["val_loss"] == pytest.approx(other["val_loss"], abs=1e-6)
    weights, others = (load_file(each.path / WEIGHTS) for each in (ours, theirs))
    for name, values in weights.items():
        assert torch.allclose(values.double(), others[name].double(), rtol=1e-6, atol=1e-6), name


def read_until(process, words):
    """Read what a process says up to a line with these words."""
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(words)


def member(process):
    """Return a process of a run that is neither its first nor one that decodes."""
    return next(each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline()))


def test_shares_hold_every_photograph_once_whatever_their_number():
    composed = compose_config([])
    for size in range(2, 40):
        for most in range(2, size + 2):
            config = replace(composed, batch_size=size, micro_batch=most)
            for processes in range(1, len(part_sizes(size, most)) + 1):
                shares = [Share.of(config, rank, processes) for rank in range(processes)]
                assert [each for share in shares for each in share.positions] == list(range(size))
                parts = {number: where.stop - where.start for share in shares for number, where in share.parts.items()}
                assert list(parts.values()) == part_sizes(size, most), "depends on the number of processes"
                assert max(len(share.parts) for share in shares) - min(len(share.parts) for share in shares) <= 1


def test_processes_draw_what_one_draws():
    whole = EpochSampler([0, 1] * 25, 8, SEED, "shuffle")
    halves = [EpochSampler([0, 1] * 25, 8, SEED, "shuffle", positions) for positions in (range(4), range(4, 8))]
    for sampler in (whole, *halves):
        sampler.set_position(2, 3)
    drawn = [list(half) for half in halves]
    assert [one for step in range(3) for half in drawn for one in half[4 * step : 4 * step + 4]] == list(whole)


def test_all_parts_of_a_batch_are_mixed_or_none():
    config = compose_config(["augment=strong"]).augment
    for size, most in ((10, 5), (9, 5)):
        mixer = Mixer(config, 0.0, 3, size)
        for seed in range(20):
            mixed = set()
            for part in part_sizes(size, most):
                torch.manual_seed(seed)
                mixed.add(mixer(torch.zeros(part, 3, 8, 8), torch.zeros(part, dtype=torch.int64)).class_indices is None)
            assert len(mixed) == 1


def test_more_processes_than_parts_are_refused_with_what_to_type(dataset, run):
    done = run("train", "--data", dataset, "--processes", 3, "--batch-size", 16)
    assert (done.code, "a batch of 16 is one part here" in done.err) == (2, True)
    assert "micro_batch=6" in done.err
    assert len(part_sizes(16, 6)) >= 3
    done = run("train", "--data", dataset, "--processes", 3, "--batch-size", 4, "micro_batch=2")
    assert (done.code, "--batch-size 6, or more" in done.err) == (2, True)


@pytest.mark.slow
def test_stopped_in_two_processes_and_finished_in_four_it_is_the_run_of_one(dataset, alone, tmp_path):
    process = start_training("--data", dataset, *RECIPE, "--output", tmp_path, "--processes", 2)
    read_until(process, "epoch 1/3")
    member(process).send_signal(signal.SIGTERM)  # Whichever is asked, all stop after the same step.
    err = process.communicate(timeout=300)[1]
    (unfinished,) = tmp_path.iterdir()
    assert process.returncode == 130, err
    assert f"flowers train --resume {unfinished} --processes 2" in err
    assert "Traceback" not in err
    refused = flowers("train", "--resume", unfinished, "--processes", 5)
    assert (refused.code, "in 4 processes, or fewer" in refused.err) == (2, True)
    done = flowers("train", "--resume", unfinished, "--processes", 4)
    assert done.code == 0, done.err
    assert "Processes: 4; a batch is 4 parts of at most 4 photographs" in done.err
    assert_same(done.out.strip(), alone)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others_with_an_error(dataset, tmp_path):
    process = start_training("--data", dataset, *RECIPE, "--epochs", 99, "--output", tmp_path, "--processes", 2)
    read_until(process, "epoch 1/99")
    other = member(process)
    workers = other.children()
    other.kill()
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, ""), err
    assert "Process 1 of this run, from 0 on, was killed by SIGKILL" in err
    assert f"flowers train --resume {next(tmp_path.iterdir())} --processes 2" in err
    assert "Traceback" not in err
    assert not psutil.wait_procs([other, *workers], timeout=60)[1]


@pytest.mark.slow
def test_a_broken_photograph_of_another_process_is_named(dataset, tmp_path):
    own = Path(shutil.copytree(dataset, tmp_path / "colours"))
    process = start_training("--data", own, *RECIPE, "--epochs", 99, "--output", tmp_path / "runs", "--processes", 2)
    read_until(process, "epoch 1/99")
    broken = drawn_by_the_second(own)
    broken.write_bytes(b"")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, ""), err
    assert err.count(f"The photograph {broken} cannot be read any more") == 1
    assert "Put it back as it was, then: flowers train --resume" in err
    assert "Traceback" not in err


def drawn_by_the_second(dataset):
    """Return a photograph that the second of two processes draws in the third epoch, before the first one does."""
    manifest = Manifest.read(manifest_path(dataset))
    photos = manifest.of_split("train")
    targets, half = class_indices(photos, manifest.class_names), BATCH // 2
    order = compose_config(["loss=supcon"]).data.sampler

    def drawn(positions, epoch):
        sampler = EpochSampler(targets, BATCH, SEED, order, positions)
        sampler.set_position(epoch)
        return {draw.photo for draw in sampler}

    first, second = range(half), range(half, BATCH)
    return dataset / photos[min(drawn(second, 3) - drawn(first, 2) - drawn(first, 3))].path


@pytest.mark.slow
def test_what_torchrun_starts_again_goes_on_in_the_same_run(dataset, alone, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    arguments = untracked(("train", "--data", dataset, *RECIPE, "--output", tmp_path, "name=mine"))
    process = subprocess.Popen(
        [*torchrun, *forked_program()[-2:], *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    read_until(process, "epoch 1/3")
    workers = psutil.Process(process.pid).children()
    next(each for each in workers if each.environ().get("RANK") == "1").kill()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Another process of this run ended before its time" in err
    assert f"Going on with {tmp_path / 'mine'}{SUFFIX}" in err
    assert out.strip() == str(tmp_path / "mine")
    assert_same(tmp_path / "mine", alone)
