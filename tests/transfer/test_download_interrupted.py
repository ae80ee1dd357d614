"""Downloads that are killed, interrupted, or run twice at once: nothing is fetched twice, nothing half is seen."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from conftest import command, flowers
from support.archive_server import Answer
from support.transfers import CLASSES, visible

pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.network]


def wait_for_bytes(server, count, process):
    until = time.monotonic() + 60
    while server.sent < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.005)


def after(statement, server, sha256):
    """Return the command line of the download after a statement: this process has threads, and must not fork alone."""
    code = f"import os, resource, signal, sys; {statement}; os.execv(sys.executable, sys.argv[1:])"
    return [sys.executable, "-c", code, *command("download", "dataset", server.url("/big.tar"), "--sha256", sha256)]


def start(server, sha256):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(after("signal.signal(signal.SIGINT, signal.SIG_DFL)", server, sha256), **pipes)


def test_killed_and_interrupted_it_goes_on(big, own_home):
    server, sha256 = big
    length = len(server.files["/big.tar"])
    with start(server, sha256) as process:
        wait_for_bytes(server, length // 4, process)
        process.kill()
    time.sleep(0.1)  # The server counts what is still on its way.
    sent = server.sent
    with start(server, sha256) as process:
        wait_for_bytes(server, sent + length // 4, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130
    assert "Interrupted at" in err
    assert "The same command goes on from there." in err
    assert visible(own_home / "datasets") == []
    with start(server, sha256) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert visible(out.strip()) == CLASSES
    assert "MB of it earlier" in err
    # What was under way at the two stops: a buffer of the system's, at most.
    assert server.sent < 1.3 * length
    assert [asked is not None for _, asked in server.requests] == [False, True, True]


def test_two_at_once_fetch_once(big):
    server, sha256 = big
    with start(server, sha256) as first, start(server, sha256) as second:
        results = [process.communicate(timeout=120) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), results
    assert results[0][0] == results[1][0]
    assert server.sent == len(server.files["/big.tar"])
    assert sum("waiting for it" in err for _, err in results) == 1
    assert sum("there already" in err for _, err in results) == 1


def test_a_disk_that_takes_no_more(big):
    """A limit on the size of files stands for a full disk: both end a write with an error."""
    server, sha256 = big
    server.usual = Answer()
    limited = after("resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))", server, sha256)
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "grows larger than is allowed" in done.stderr
    done = flowers("download", "dataset", server.url("/big.tar"), "--sha256", sha256)
    assert done.code == 0
    assert "1.0 MB of it earlier" in done.err
