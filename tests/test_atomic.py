"""Files and folders that appear whole or not at all, whoever is killed meanwhile, and however many write them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import default_interrupt

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
    line = [sys.executable, "-c", HALF]
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, preexec_fn=default_interrupt)  # noqa: PLW1509
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


SCRATCH = """
import sys, time
from flowercli.atomic import scratch_folder
with scratch_folder("export") as folder:
    (folder / "half").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60 if len(sys.argv) > 1 else 0)
"""


PLACED = """
import os, signal, shutil
from pathlib import Path
from flowercli.atomic import new_file
shutil.rmtree = lambda *_arguments, **_options: os.kill(os.getpid(), signal.SIGKILL)
with new_file(Path("whole")) as file:
    file.write_bytes(b"whole")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is swept where processes cannot be asked after")
def test_what_was_killed_between_its_last_two_steps_goes_with_the_next_file_beside_it(tmp_path):
    done = subprocess.run([sys.executable, "-c", PLACED], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "whole").read_bytes() == b"whole"
    (left,) = tmp_path.glob(".partial-*")
    full = left.with_name(left.name.replace("whole", "other"))
    full.mkdir()
    (full / "other").write_bytes(b"of somebody who goes on with it")
    write_bytes(tmp_path / "another", b"1")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([full.name, "another", "whole"])


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is swept where processes cannot be asked after")
def test_a_scratch_folder_of_a_killed_process_goes_with_the_next(tmp_path):
    own = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", SCRATCH, "stay"], env=own, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    subprocess.run([sys.executable, "-c", SCRATCH], env=own, check=True, capture_output=True)
    assert len(list(tmp_path.iterdir())) == 1
    process.kill()
    process.communicate()
    subprocess.run([sys.executable, "-c", SCRATCH], env=own, check=True, capture_output=True)
    assert not list(tmp_path.iterdir())


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


posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither")


@posix
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    link, target = tmp_path / "link", folder / "target"
    link.symlink_to(target)
    for content in (b"new", b"newer"):  # At first it leads to nothing.
        write_bytes(link, content)
        assert (link.is_symlink(), target.is_symlink(), target.read_bytes()) == (True, False, content)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "link", "target"]


@posix
def test_devices_and_pipes_are_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        write_bytes(pipe, b"through")
        assert reader.communicate()[0] == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write_bytes(Path(os.devnull), b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@posix
@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("to_file", [True, False])
def test_an_open_stream_gets_its_part_in_order(tmp_path, place, to_file):
    code = f"""
import sys; from pathlib import Path; from flowercli.atomic import write_text
print("before", flush=True); write_text(Path({place!r}), "written\\n"); print("after")
"""
    output = tmp_path / "output"
    with output.open("wb") as file:
        done = subprocess.run([sys.executable, "-c", code], stdout=file if to_file else subprocess.PIPE, check=True)
    said = output.read_bytes() if to_file else done.stdout
    assert said.split() == [b"before", b"written", b"after"]


@posix
def test_who_may_read_it_is_up_to_the_user(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
        with new_folder(tmp_path / "folder"):
            pass
        kept = tmp_path / "kept"
        kept.touch()
        kept.chmod(0o600)
        write_bytes(kept, b"")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"file": 0o640, "folder": 0o750, "kept": 0o600}


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
