"""The index of what was downloaded: what is unfinished or being fetched, and how it is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, SAMPLES, write_dataset
from support.transfers import visible

from flowercli import installed
from flowercli.data.places import find_manifest
from flowercli.errors import DataError
from flowercli.installed import Installed
from flowercli.locks import alone

pytestmark = pytest.mark.usefixtures("own_home")
KEY = "garden-0123abcd"


def entry(name):
    return Installed("dataset", name, "https://example.org/x.tgz", None, None, 1, "2026-11-24T00:00:00+00:00")


def test_removing_takes_what_is_unfinished_of_that_name_only():
    for name in (KEY, "garden-2-0123abcd", "gardens-0123abcd"):
        (installed.downloads() / name).mkdir(parents=True)
        (installed.downloads() / name / "part").write_bytes(b"12345")
    installed.folder_of("dataset", "garden").mkdir(parents=True)
    installed.record(entry("garden"))
    assert installed.unfinished() == 15
    assert installed.remove("garden") == ([entry("garden")], 5)
    assert visible(installed.downloads()) == ["garden-2-0123abcd", "gardens-0123abcd"]
    assert list(installed.folder_of("dataset", "").iterdir()) == []
    with pytest.raises(DataError, match="Nothing downloaded is called 'garden'"):
        installed.remove("garden")


def test_what_is_being_fetched_is_not_removed():
    (installed.downloads() / KEY).mkdir(parents=True)
    with alone(installed.downloads() / KEY), pytest.raises(DataError, match="is downloading garden now"):
        installed.remove("garden")
    assert (installed.downloads() / KEY).is_dir()
    assert installed.remove("garden") == ([], 0)


def test_a_folder_that_a_system_holds_stays_whole(monkeypatch):
    """Windows does not let go of what is open; here the refusal is made."""
    folder = installed.folder_of("dataset", "garden")
    folder.mkdir(parents=True)
    installed.record(entry("garden"))

    def refuse(self, _target):
        raise PermissionError(13, "in use", str(self))

    monkeypatch.setattr("pathlib.Path.rename", refuse)
    with pytest.raises(DataError, match="is in use, or may not be changed"):
        installed.remove("garden")
    assert folder.is_dir()
    assert installed.find("dataset", "garden") == entry("garden")


@pytest.mark.parametrize(
    "entry",
    [{"colour": "red"}, {"kind": "garden"}, {"size": "big"}],
)
def test_an_index_of_a_newer_version_is_neither_damaged_nor_lost(run, entry):
    path = installed.data_home() / installed.INDEX
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"kind": "model", "name": "x", "source": "s", "revision": None, "sha256": None, "size": 1}
    text = json.dumps([whole | {"installed_at": "now"} | entry])
    path.write_text(text)
    for arguments in (("--list",), ("--remove", "x")):
        done = run("download", *arguments)
        assert done.code == 1
        assert "newer version" in done.err
        assert "--upgrade" in done.err or "upgrade flowercli" in done.err
        assert "rm " not in done.err
    assert path.read_text() == text
    path.write_text(text[:-3])
    assert f"mv {path} {path}.damaged" in run("download", "--list").err


@pytest.mark.parametrize("text", ['["x"]', '{"a": 1}', "5", "null", "[[]]", '[{"kind": "model"}]', "[{}]"])
def test_an_index_that_no_version_writes_is_damaged(run, text):
    path = installed.data_home() / installed.INDEX
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    done = run("download", "--list")
    assert done.code == 1
    assert f"mv {path} {path}.damaged" in done.err
    assert "newer" not in done.err


def test_options_beside_a_subcommand_are_refused(run):
    for options, hint in (
        (("--list",), "flowers download --list"),
        (("--remove", "x"), "flowers download --remove NAME"),
        (("--json",), "flowers download model … --json"),
    ):
        done = run("download", *options, "model", "me/five")
        assert done.code == 2
        assert "does not go with `model`: nothing was done" in done.err
        assert hint in done.err
    assert run("download", "--list", "--remove", "x").code == 2


NO_HOME = """
import os, pwd, sys
def unknown(uid): raise KeyError(uid)
pwd.getpwuid = unknown
for name in ("HOME", "XDG_DATA_HOME", "FLOWERS_HOME"): os.environ.pop(name, None)
from flowercli.cli.main import run
run()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other users have no home there")
def test_a_user_without_a_home_gets_answers_and_is_told_what_lacks(tmp_path):
    def flowers(*arguments):
        words, environment = [sys.executable, "-c", NO_HOME, *map(str, arguments)], {"PYTHONPATH": str(ROOT)}
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

    dataset = write_dataset(tmp_path / "data", photos=6)
    for arguments in (("split", dataset), ("merge", dataset, "--output", tmp_path / "both")):
        done = flowers(*arguments)
        assert done.returncode == 0, done.stderr
    assert find_manifest(dataset).parent == dataset
    assert "rose" in flowers("classify", SAMPLES / "rose.jpg").stdout
    assert "garden" in flowers("models").stdout
    archive = tmp_path / "photos.tar"
    archive.write_bytes(bytes(10240))
    for arguments in (("download", "--list"), ("download", "dataset", archive)):
        done = flowers(*arguments)
        assert done.returncode == 1
        assert "export FLOWERS_HOME=FOLDER" in done.stderr
        assert "Traceback" not in done.stderr
    assert "export FLOWERS_HOME" in flowers("doctor").stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "data", "photos.tar"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes among files")
def test_an_index_that_is_none_is_told(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path))
    index = tmp_path / "index.json"
    os.mkfifo(index)
    assert "not a plain file" in run("download", "--list").err
    index.unlink()
    for text in ("[" * 100_000, "{", "[NaN]"):
        index.write_text(text)
        result = run("download", "--list")
        assert result.code == 1
        assert "is damaged" in result.err or "newer" in result.err
