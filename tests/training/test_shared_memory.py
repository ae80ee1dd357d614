"""Where workers cannot hand over what they decode, training says so and goes on without them, with the same batches."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from torch.utils.data import Dataset, get_worker_info

from flowercli.training import loading
from flowercli.training.data_workers import workers_to_start, workers_with_room
from flowercli.training.loading import PhotoLoader
from flowercli.training.sampler import EpochSampler

PICTURES = 48


class Pictures(Dataset):
    """Pictures of one value each, which a worker never hands over from the given one on."""

    def __init__(self, silent_from=PICTURES):
        self.silent_from = silent_from

    def __getitem__(self, draw):
        if get_worker_info() is not None and draw.photo >= self.silent_from:
            time.sleep(3600)
        return torch.full((3, 224, 224), draw.photo, dtype=torch.uint8), torch.tensor(draw.photo)


def batches(workers, dataset, say):
    """Return the photographs of two epochs, batch by batch, the first one from its second step on."""
    sampler = EpochSampler([0] * PICTURES, 4, seed=1, order="shuffle")
    loader = PhotoLoader(dataset, 4, workers=workers, sampler=sampler, keep_workers=True, say=say)
    seen = []
    for epoch, steps_done in ((1, 1), (2, 0)):
        sampler.set_position(epoch, steps_done)
        for pixels, targets in loader:
            assert pixels[:, 0, 0, 0].tolist() == targets.tolist()
            seen.append(targets.tolist())
            time.sleep(0.2 if workers and len(seen) == 1 else 0)
    return seen


def in_small_memory():
    """Be run where the shared memory has 2 MiB: three batches of four pictures."""
    said = []
    assert workers_with_room(8, 4 * 3 * 224 * 224) == 0
    assert workers_with_room(8, 4 * 3 * 64 * 64) == 8
    assert batches(2, Pictures(), said.append) == batches(0, Pictures(), said.append)
    (message,) = said
    assert "is full: this process decodes from now on" in message


def small_memory(code):
    """Return a command that runs Python code where ``/dev/shm`` has 2 MiB."""
    mounted = 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$0" -c "$1"'
    return ["unshare", "--mount", "sh", "-c", mounted, sys.executable, code]


def may_mount():
    try:
        return subprocess.run(small_memory("pass"), capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux" or not may_mount(), reason="may not mount a small /dev/shm")
def test_a_full_shared_memory_is_told_and_changes_no_batch():
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
    code += "; from test_shared_memory import in_small_memory; in_small_memory()"
    done = subprocess.run(small_memory(code), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == ""


def test_workers_from_which_nothing_comes_are_given_up(monkeypatch):
    monkeypatch.setattr(loading, "NOTHING_COMES_SECONDS", 1)
    said = []
    started = time.monotonic()
    assert batches(1, Pictures(silent_from=10), said.append) == batches(0, Pictures(), said.append)
    (message,) = said
    assert message.startswith("Nothing has come from the processes that decode")
    assert time.monotonic() - started < 30


def test_as_many_workers_as_cores_unless_told(monkeypatch):
    monkeypatch.setenv("FLOWERS_THREADS", "1")
    assert [workers_to_start(asked) for asked in (None, 0, 8)] == [1, 0, 8]
    monkeypatch.setenv("FLOWERS_THREADS", "4")
    assert workers_to_start(None) == 2


THREADS = """
import os
import torch
from flowercli.inference import cpu
from flowercli.inference.cgroup import Quota
from flowercli.training.device import make_accelerator
from flowercli.training.device import honour_limits
torch.set_num_threads(2)
for threads in ("3", "1"):
    os.environ["FLOWERS_THREADS"] = threads
    make_accelerator("cpu", "fp32")
    print(torch.get_num_threads())
torch.set_num_threads(2)
del os.environ["FLOWERS_THREADS"]
cpu.cpu_quota = lambda: Quota(0.5, "cpu.max")
honour_limits()
print(torch.get_num_threads())
"""


def test_torch_computes_on_as_many_threads_as_it_may():
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "1", "1"]
