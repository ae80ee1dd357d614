"""Parts on two nodes of Ray: one node dies, then the driver, and every photograph has the answer of `classify`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from conftest import ROOT, command, flowers

pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
pytest.importorskip("ray", reason="needs the extra 'ray'")

pytestmark = [pytest.mark.slow, pytest.mark.network]
MODEL = ("--model", "flowers5")


@contextmanager
def cluster():
    """Yield the address of two nodes, and a function that kills the second with SIGKILL."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, ROOT / "tests" / "support" / "ray_cluster.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    ) as process:  # fmt: skip

        def kill():
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "killed\n"

        yield process.stdout.readline().strip(), kill


def await_parts(place, count, driver):
    deadline = time.monotonic() + 120
    while len(list(place.glob("*.parquet"))) < count:
        assert time.monotonic() < deadline
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.01)


def by_path(text):
    return {one["path"]: one for one in map(json.loads, text.splitlines())}


def test_a_node_and_a_driver_die(dataset, tmp_path):
    arguments = ("classify", dataset, *MODEL, "--out", tmp_path, "--part-size", 4)
    with cluster() as (address, kill):
        line = command(*arguments, "--engine", "ray", "--address", address)
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
            await_parts(tmp_path, 2, driver)
            driver.kill()
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
            await_parts(tmp_path, len(list(tmp_path.glob("*.parquet"))) + 1, driver)
            driver.terminate()
            _, err = driver.communicate(timeout=60)
        assert driver.returncode == 130, err
        assert err.startswith("Error: Interrupted after ")
        assert f"Go on with: flowers classify {dataset} " in err
        assert 2 <= len(list(tmp_path.glob("*.parquet"))) < 30
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
            await_parts(tmp_path, len(list(tmp_path.glob("*.parquet"))) + 2, driver)
            kill()
            out, err = driver.communicate(timeout=240)
        assert (driver.returncode, out.endswith(" parts\n")) == (0, True), err
        assert "Traceback" not in err
    assert json.loads(flowers("answers", tmp_path, "--json").out)["complete"]
    plainly = by_path(flowers("classify", dataset, *MODEL, "--json").out)
    assert by_path(flowers("answers", tmp_path, "--format", "json").out) == plainly


@pytest.mark.parametrize("address", ["127.0.0.1:9", "auto", "nonsense"])
def test_a_cluster_that_is_none_is_told(tmp_path, address):
    arguments = ("classify", ROOT / "docs" / "samples", "--out", tmp_path, "--engine", "ray")
    done = flowers(*arguments, "--address", address, timeout=60)
    assert (done.code, done.out) == (1, "")
    assert f"There is no Ray at '{address}'" in done.err
    assert "Traceback" not in done.err
