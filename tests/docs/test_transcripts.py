"""The transcripts in the documentation are what the program says, but for figures: its words, tables and hints."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
from conftest import ROOT
from support.forked import forked_script

pytest.importorskip("pty", reason="there are no such terminals here")
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
PROGRAM = f'exec "{sys.executable}" -W error -P -m flowercli "$@"'
pytestmark = pytest.mark.skipif(
    f"typer=={version('typer')}" not in GROUPS["docs"], reason="another Typer lays its pages out in another way"
)


def check(page, *options):
    command = [sys.executable, ROOT / "docs" / "transcripts.py", "--check", page, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nWrite it anew: python docs/transcripts.py {page}"


@pytest.mark.slow
def test_a_gardeners_first_minutes():
    check("first-minutes.md")


@pytest.mark.slow
@pytest.mark.network
def test_an_engineers_first_hour():
    pytest.importorskip("mlflow", reason="needs the extras 'train' and 'serve'")
    pytest.importorskip("torch", reason="needs the extra 'train'")
    # What its libraries say when they are loaded is in tests/cli/test_quiet.py.
    check("first-hour.md", "--program", forked_script(PROGRAM))
