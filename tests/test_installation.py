"""The commands that are printed work for how the program was installed: each is typed as printed, in a real one."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.network]
needs_uv = pytest.mark.skipif(shutil.which("uv") is None, reason="there is no uv")
needs_pipx = pytest.mark.skipif(shutil.which("pipx") is None, reason="there is no pipx")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of what is installed, in a folder whose name a shell must be told of."""
    folder = tmp_path_factory.mktemp("a clone") / "flowers"
    folder.mkdir()
    for name in ("flowercli", "configs", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def typed(line, **environment):
    """Type a line into a shell."""
    own = {**os.environ, **environment}
    done = subprocess.run(line, shell=True, env=own, capture_output=True, text=True, check=False, timeout=300)  # noqa: S602
    assert done.returncode == 0, done.stderr


def hint_of(flowers):
    """Return the command that the program prints where what a server needs is missing."""
    said = subprocess.run([flowers, "serve"], capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 4, said.stderr
    return said.stderr.splitlines()[-1]


# -P: what was installed, not the folder that the tests run in.
def check_upgrade(environment, clone, **own):
    """Type the command that upgrades, as if the clone were newer: its version is the same."""
    script = "from flowercli.installation import upgrade; print(upgrade())"
    said = subprocess.run(
        [environment / "bin" / "python", "-P", "-c", script], capture_output=True, text=True, check=True
    )
    pull, _, command = said.stdout.strip().partition(" && ")
    assert pull == f"git -C '{clone}' pull"
    with (clone / "flowercli" / "shown.py").open("a", encoding="utf-8") as file:
        file.write("NEWER = True\n")
    typed(command, **own)
    subprocess.run(
        [environment / "bin" / "python", "-P", "-c", "from flowercli.shown import NEWER"], check=True, timeout=60
    )


def check_both(environment):
    """Check that an environment has the packages of the extra that was there and of the one that came."""
    script = "import pillow_heif, flowercli.serving.http.app"
    subprocess.run([environment / "bin" / "python", "-P", "-c", script], check=True, timeout=60)


@needs_uv
def test_under_uv_tool(clone, tmp_path):
    own = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    typed(f"uv tool install '{clone}[heif]'", **own)
    command = hint_of(tmp_path / "bin" / "flowers")
    assert command == f"uv tool install '{clone}[heif,http]'"
    typed(command, **own)
    check_both(tmp_path / "tools" / "flowercli")
    check_upgrade(tmp_path / "tools" / "flowercli", clone, **own)


@needs_pipx
def test_under_pipx(clone, tmp_path):
    own = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin"), "PIPX_MAN_DIR": str(tmp_path)}
    typed(f"pipx install '{clone}[heif]'", **own)
    command = hint_of(tmp_path / "bin" / "flowers")
    assert command.startswith("pipx inject flowercli 'flowercli[http] @ file://")
    typed(command, **own)
    check_both(tmp_path / "home" / "venvs" / "flowercli")
    check_upgrade(tmp_path / "home" / "venvs" / "flowercli", clone, **own)
