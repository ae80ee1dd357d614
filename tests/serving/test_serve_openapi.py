"""``flowers serve`` against its own OpenAPI description, with what schemathesis makes up."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import ROOT
from support.serve_server import serving

pytest.importorskip("schemathesis", reason="needs schemathesis")

TESTS = ROOT / "tests"


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path):
    # With a key, the description holds all that it can.
    with serving(tmp_path, FLOWERS_API_KEY="secret") as server:
        url = f"http://127.0.0.1:{server.port}/openapi.json"
        line = [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            url,
            "--max-examples",
            "3",
            "--no-color",
            "-H",
            "X-API-Key: secret",
        ]
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "support.schemathesis_hooks", "PYTHONPATH": python_path()},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        assert "No issues found" in done.stdout
        assert '"level": "error"' not in server.text


def python_path():
    return os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
