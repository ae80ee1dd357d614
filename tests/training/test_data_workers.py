"""Data workers say nothing when the process that trains is stopped or killed, and never outlive it; what they cannot
read is named.
"""

from __future__ import annotations

import multiprocessing.connection
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import flowers, start_training

from flowercli.bundle import Bundle
from flowercli.data.manifest import Manifest
from flowercli.data.scan import MANIFEST_FILE

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
psutil = pytest.importorskip("psutil")

from torch.utils.data import DataLoader, Dataset

from flowercli.training.data_workers import start_data_worker
from flowercli.training.run_folder import BEST

TINY = ("model=tiny", "--batch-size", 16, "--epochs", 1)
connect = multiprocessing.connection.Client


class Numbers(Dataset):
    """Tensors that a worker made, with its process id."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((4,), index), os.getpid()


def loader():
    return DataLoader(Numbers(), 2, num_workers=1, worker_init_fn=start_data_worker)


def hang_up_then_connect(address, **key):
    """Connect, leave unread what the worker says first, and go, as a killed process does; then connect for real."""
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(address)
        assert select.select([other], [], [], 30)[0]
    return connect(address, **key)


@pytest.mark.skipif(torch.multiprocessing.get_sharing_strategy() != "file_descriptor", reason="no sockets here")
def test_a_reader_that_is_gone_is_no_news(monkeypatch, capfd):
    monkeypatch.setattr(multiprocessing.connection, "Client", hang_up_then_connect)
    drawn = [int(value) for batch, _ in loader() for value in batch[:, 0]]
    assert drawn == list(range(8))
    assert capfd.readouterr().err == ""


def test_signals_are_left_to_the_process_that_trains(capfd):
    numbers = []
    for batch, workers in loader():
        numbers += batch[:, 0].tolist()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(int(workers[0]), number)
    assert numbers == list(range(8))
    assert capfd.readouterr().err == ""


STOPPED_AT_BIRTH = """
import os, signal, torch
from flowercli.training.loading import PhotoLoader
os.register_at_fork(after_in_child=lambda: [os.kill(os.getpid(), each) for each in (signal.SIGTERM, signal.SIGINT)])
numbers = [(torch.tensor(number), 0) for number in range(8)]
print([batch.tolist() for batch, _ in PhotoLoader(numbers, 4, workers=1)])
signal.raise_signal(signal.SIGTERM)
"""


def test_a_worker_that_has_just_been_started_leaves_signals_too():
    done = subprocess.run([sys.executable, "-c", STOPPED_AT_BIRTH], capture_output=True, timeout=300, check=False)
    assert (done.stdout, done.stderr) == (b"[[0, 1, 2, 3], [4, 5, 6, 7]]\n", b"")
    assert done.returncode == -signal.SIGTERM  # The process that trains receives them as before.


LEFT_BEHIND = """
from torch.utils.data import DataLoader
from flowercli.training.data_workers import start_data_worker
left = iter(DataLoader([1, 2, 3], num_workers=1, persistent_workers=True, worker_init_fn=start_data_worker))
next(left)
raise SystemExit(3)
"""


def test_a_worker_that_is_left_behind_does_not_hold_up_the_end():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LEFT_BEHIND], capture_output=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (3, b"")


def wait_for_checkpoint(process, output):
    """Wait until the run has come so far that it has data workers."""
    while not any(output.glob(f"*/{BEST}")):
        assert process.poll() is None
        time.sleep(0.02)


@pytest.fixture
def photo(own_dataset, run):
    """Return a split dataset, its first photograph for training, and what that holds."""
    assert run("split", own_dataset, "--seed", 7).code == 0
    path = own_dataset / Manifest.read(own_dataset / MANIFEST_FILE).of_split("train")[0].path
    return own_dataset, path, path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_photograph_that_breaks_meanwhile_is_named_and_the_run_goes_on_with_it_back(photo, tmp_path, workers):
    folder, path, whole = photo
    output = tmp_path / "runs"
    process = start_training("--data", folder, *TINY, f"num_workers={workers}", "--epochs", 8, "--output", output)
    wait_for_checkpoint(process, output)
    path.write_bytes(whole[:200])
    err = process.communicate(timeout=300)[1]
    assert process.returncode == 1, err
    assert f"{path} cannot be read any more: It is cut off" in err
    assert f"Or start anew without it: flowers split {folder} --seed 7, then flowers train …" in err
    assert "Traceback" not in err
    hint = re.search(r"flowers train --resume (\S+)\n", err)
    path.write_bytes(whole)
    resumed = flowers("train", "--resume", hint[1], timeout=600)
    assert resumed.code == 0, resumed.err


@pytest.mark.slow
def test_killed_data_workers_are_told_and_the_run_goes_on_without_them(dataset, tmp_path):
    process = start_training("--data", dataset, *TINY, "num_workers=2", "--epochs", 8, "--output", tmp_path / "runs")
    wait_for_checkpoint(process, tmp_path / "runs")
    for worker in psutil.Process(process.pid).children():  # As the kernel does when memory runs out.
        worker.kill()
    err = process.communicate(timeout=300)[1]
    assert process.returncode == 1, err
    assert "A process that decodes photographs was killed" in err
    assert "Traceback" not in err
    hint = re.search(r"flowers (train --resume \S+ num_workers=0)\n", err)
    resumed = flowers(*hint[1].split(), timeout=600)
    assert resumed.code == 0, resumed.err
    assert Bundle.load(Path(resumed.out.strip())).section["history"]


def test_a_second_interrupt_ends_everything_at_once(dataset, tmp_path):
    process = start_training("--data", dataset, *TINY, "num_workers=2", "--epochs", 400, "--output", tmp_path / "runs")
    wait_for_checkpoint(process, tmp_path / "runs")
    for _ in range(2):  # From a terminal, whose Ctrl-C goes to the data workers too.
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    err = process.communicate(timeout=300)[1]  # Waits for whoever holds the pipe, so for the data workers.
    assert process.returncode == 130, err
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
