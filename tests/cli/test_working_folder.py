"""A working folder is the user's, or a stranger's archive: no module in it is taken for one of Python's or ours."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# What the processes load first, and what is only theirs.
NAMES = ("types", "json", "mlflow", "uvicorn", "sqlalchemy")
READY = re.compile(r"Ready: |Serving |The runs are at |http://127\.0\.0\.1:\d+")


@pytest.fixture
def folder(tmp_path):
    """Return a working folder with modules of such names, each of which leaves a file where it is executed."""
    inner = tmp_path / "here"
    for name in NAMES:
        module = inner / name / "__init__.py"
        module.parent.mkdir(parents=True)
        module.write_text(f"open({str(inner / ('executed-' + name))!r}, 'w')\n")
    return inner


def check_started(folder, *arguments):
    log = folder.parent / "log"
    # The script itself begins without the working folder; processes of its own would have it.
    line = [Path(sys.executable).with_name("flowers"), *map(str, arguments)]
    environment = os.environ | {"PYTHONSAFEPATH": ""}
    with (
        log.open("wb") as stream,
        subprocess.Popen(line, stdout=stream, stderr=stream, cwd=folder, env=environment) as process,
    ):
        try:
            deadline = time.monotonic() + 300
            while not READY.search(log.read_text()):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)


def test_workers_of_the_service_take_none(folder):
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    check_started(folder, "serve", "--port", 0, "--workers", 2)


@pytest.mark.slow
def test_mlflows_servers_take_none(folder, tmp_path):
    pytest.importorskip("mlflow", reason="needs the extra 'train'")
    from flowercli.tracking.store import Store

    check_started(folder, "serve-mlflow", "--port", 0)
    records = tmp_path / "runs"
    records.mkdir()
    Store.beside(records).client().search_experiments()
    check_started(folder, "serve-mlflow", "--tracking", "--port", 0, "--runs", records)
