"""Files and folders that appear whole or not at all, whoever is killed meanwhile, and however many write them."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time

import pytest

from flowercli.atomic import new_file, new_folder, write_bytes

HALF = """
import sys, time
from pathlib import Path
from flowercli.atomic import new_file, new_folder
with new_file(Path("file")) as file, new_folder(Path("folder")) as folder:
    file.write_bytes(b"half")
    (folder / "inner").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def started(folder):
    """Start a process that is in the midst of writing a file and a folder."""
    process = subprocess.Popen([sys.executable, "-c", HALF], cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is swept where processes cannot be asked after")
def test_what_a_killed_process_left_goes_with_the_next(tmp_path):
    dead, living = started(tmp_path), started(tmp_path)
    dead.kill()
    dead.communicate()
    assert len(list(tmp_path.iterdir())) == 4
    write_bytes(tmp_path / "file", b"whole")
    with new_folder(tmp_path / "folder") as folder:
        (folder / "inner").write_bytes(b"whole")
    names = sorted(path.name for path in tmp_path.iterdir())
    # What another process is writing now stays.
    assert len(names) == 4
    assert names[2:] == ["file", "folder"]
    assert all(f"-{living.pid}-" in name for name in names[:2])
    living.send_signal(signal.SIGINT)
    living.communicate()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_failed_write_leaves_what_was_there(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"before")

    def fail():
        with new_file(target) as file:
            file.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"before"


def write_often(target, byte):
    end = time.monotonic() + 1
    while time.monotonic() < end:
        write_bytes(target, byte * 100_000)


def test_several_writers_of_one_file(tmp_path):
    target = tmp_path / ("n" * 250)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(target, byte)) for byte in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if target.exists():
            content = target.read_bytes()
            assert len(content) == 100_000
            assert len(set(content)) == 1
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [target]
