"""Models whose download is cut, killed, run twice at once or given wrong bytes: whole in the end, or not there."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, command
from support.hub import Fault, client_environment
from support.published import GRAPH, NAME, ROSE, in_place

from flowercli.bundle import Bundle

pytestmark = pytest.mark.network
# A shell's background jobs, and their children, ignore Ctrl-C.
INTERRUPTIBLE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, sys.argv[1:])
"""


def test_cut_connections_are_resumed(hub, program):
    size = (hub.root / NAME / GRAPH).stat().st_size
    cuts = random.Random(4)
    hub.faults = [Fault(GRAPH, cut_after=cuts.randrange(1, size // 4)) for _ in range(6)]
    hub.faults += [
        Fault(f"/api/models/{NAME}$", status=503),
        Fault("split.json", status=502),
        Fault("README", cut_after=0),
    ]
    done = program("download", "model", NAME)
    assert done.code == 0, done.err
    assert "out of order (HTTP 503). Trying again in" in done.err
    assert "The connection to 127.0.0.1 was cut after" in done.err
    ranges = [asked for _, path, asked in hub.requests if path.endswith(GRAPH)]
    assert len(ranges) == 7
    assert all(re.fullmatch(r"bytes=\d+-", asked) for asked in ranges[1:])
    # What was sent beyond the files themselves: one listing, one description.
    files = sum(path.stat().st_size for path in (hub.root / NAME).iterdir()) - 600_000
    assert hub.sent <= files * 1.05


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_download_goes_on_where_it_was(hub, program, tmp_path, how):
    size = (hub.root / NAME / GRAPH).stat().st_size
    hub.faults = [Fault(GRAPH, cut_after=size * 2 // 3, hold=True)]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *command("download", "model", NAME)],
        env=client_environment(hub, tmp_path), cwd=ROOT, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        partial = tmp_path / "data" / "models" / f".partial-me--five@{hub.head(NAME)}" / f".partial-{GRAPH}"
        deadline = time.monotonic() + 60
        while not partial.exists() or partial.stat().st_size < size * 2 // 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        busy = program("download", "--remove", NAME)
        assert busy.code == 1
        assert f"Another process is downloading {NAME} now" in busy.err
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert f"Interrupted at {size * 2 / 3e6:.1f} of {size / 1e6:.1f} MB of {GRAPH}." in err
        assert "The same command goes on from there." in err
    assert in_place(tmp_path) == []
    assert json.loads(program("download", "--list", "--json").out)["installed"] == []
    hub.requests.clear()
    assert program("download", "model", NAME).code == 0
    assert [asked for _, path, asked in hub.requests if path.endswith(GRAPH)] == [f"bytes={size * 2 // 3}-"]
    Bundle.load(tmp_path / "data" / "models" / NAME).verify()
    assert list((tmp_path / "data" / "models").glob(".partial-*")) == []


def test_what_had_arrived_can_be_removed(hub, program, tmp_path):
    hub.faults = [Fault(GRAPH, cut_after=1_000_000)]
    assert program("download", "model", NAME, "--retries", 0).code == 1
    assert "Unfinished downloads take 1.3 MB" in program("download", "--list").err
    assert "an unfinished download of me/five (1.3 MB)" in program("download", "--remove", NAME).err
    assert list((tmp_path / "data" / "models").glob(".partial-*")) == []
    assert program("download", "--remove", NAME).code == 1


def test_two_at_once_fetch_one_copy(hub, tmp_path):
    environment = client_environment(hub, tmp_path)
    pair = [
        subprocess.Popen(
            command("download", "model", NAME), env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in pair] == [f"{tmp_path / 'data' / 'models' / NAME}\n"] * 2
    assert len(hub.asked(GRAPH)) == 1


def test_wrong_bytes_are_refused_and_a_wrong_beginning_is_replaced(hub, program, tmp_path):
    hub.faults = [Fault(GRAPH, garble=True)]
    done = program("download", "model", NAME)
    assert (done.code, done.out) == (1, "")
    assert f"{GRAPH} of {NAME}@{hub.head(NAME)} has the sha256" in done.err
    assert in_place(tmp_path) == []
    partial = tmp_path / "data" / "models" / f".partial-me--five@{hub.head(NAME)}" / f".partial-{GRAPH}"
    partial.write_bytes(b"\0" * 1000)
    assert program("download", "model", NAME).code == 0
    Bundle.load(tmp_path / "data" / "models" / NAME).verify()


def test_a_damaged_copy_is_fetched_again(hub, program, tmp_path):
    assert program("download", "model", NAME).code == 0
    graph = tmp_path / "data" / "models" / NAME / GRAPH
    graph.write_bytes(graph.read_bytes()[:-1])
    assert program("classify", ROSE, "--model", NAME).code == 1
    assert program("download", "model", NAME).code == 0
    assert program("classify", ROSE, "--model", NAME).code == 0
    assert hub.asked(GRAPH)[1:] == hub.asked(GRAPH)[:1]
