"""What the page consists of, ``flowers export --web`` on the command line, and what the build takes from npm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

from flowercli.bundle import Bundle
from flowercli.models import load_model
from flowercli.serving.page import runtime
from flowercli.serving.page.files import SITE, page_files

needs_runtime = pytest.mark.skipif(not runtime.is_there(), reason="this install was built without npm")


@pytest.fixture
def without_runtime(monkeypatch, tmp_path):
    """Be an install that was built where there was no npm."""
    monkeypatch.setattr(runtime, "FOLDER", tmp_path / "nothing")


@needs_runtime
def test_a_server_finds_every_file_by_its_path():
    files = page_files(load_model("flowers5"), server=True)
    settings = json.loads(files["/page.json"].content)
    assert files["/"].media_type == "text/html; charset=utf-8"
    assert files["/page.js"].media_type == files[settings["runtime"]["script"][1:]].media_type
    assert files[settings["runtime"]["wasm"][1:]].media_type == "application/wasm"
    assert files[settings["runtime"]["wasm"][1:]].content.startswith(b"\0asm")
    assert len(files[settings["graph"]["url"][1:]].content) == settings["graph"]["bytes"]
    assert (settings["server"], settings["key"], settings["only"]) == (True, False, None)
    assert all(path.startswith("/") and file.content for path, file in files.items())


def test_the_description_holds_what_answering_needs_and_no_more():
    bundle = load_model("flowers5")
    config = json.loads(page_files(bundle)["/model/config.json"].content)
    assert config["label_names"] == bundle.class_names
    assert config["pretrained_cfg"] == bundle.pretrained_cfg
    assert config["flowers"]["rejection_threshold"] == bundle.rejection_threshold
    assert config["flowers"].keys() <= {"format_version", "rejection_threshold", "scientific_names"}


def test_no_file_speaks_of_another_host_or_of_a_flower_of_one_model():
    for path in set(SITE.iterdir()) - {SITE / "icon.png"}:
        text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "://" not in text, path.name
        assert "sunflower" not in text, path.name


@needs_runtime
def test_a_lone_onnx_gives_the_same_page(tmp_path):
    shutil.copy(load_model("flowers5").path / "model.int8.onnx", tmp_path / "moved.onnx")
    files = page_files(Bundle.load(tmp_path / "moved.onnx"))
    assert json.loads(files["/page.json"].content)["graph"]["url"] == "./model/model.onnx"
    assert json.loads(files["/model/config.json"].content)["label_names"] == load_model("flowers5").class_names


@needs_runtime
def test_export_says_what_it_wrote_and_how_to_try_it(run, tmp_path):
    result = run("export", "flowers5", "--web", tmp_path / "my site")
    assert result.code == 0
    assert f"python -m http.server -d '{tmp_path / 'my site'}'" in result.err
    result = run("export", "flowers5", "--web", tmp_path / "again", "--json")
    written = json.loads(result.out)
    assert written["size"] == sum(written["files"].values())
    on_disk = {str(path.relative_to(tmp_path / "again")): path.stat().st_size
               for path in (tmp_path / "again").rglob("*") if path.is_file()}  # fmt: skip
    assert on_disk == written["files"]
    assert {"index.html", "page.json", "model/config.json"} <= on_disk.keys()
    assert json.loads((tmp_path / "again" / "page.json").read_text())["server"] is False
    assert not list(tmp_path.glob(".partial-*"))


def test_export_refuses_a_folder_that_exists(run, tmp_path):
    result = run("export", "flowers5", "--web", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "exists already" in result.err


@pytest.mark.usefixtures("without_runtime")
def test_without_npm_at_build_time_export_says_what_to_do(run, tmp_path):
    result = run("export", "flowers5", "--web", tmp_path / "site")
    assert result.code == 1
    assert "no onnxruntime for browsers" in result.err
    assert "pip install" in result.err
    assert not (tmp_path / "site").exists()


@pytest.mark.usefixtures("without_runtime")
def test_without_npm_at_build_time_the_page_uses_the_server():
    files = page_files(load_model("flowers5"), server=True)
    assert json.loads(files["/page.json"].content)["runtime"] is None
    assert not any(path.startswith("/vendor") for path in files)


def test_a_build_without_npm_gives_a_wheel_and_one_line(tmp_path):
    pytest.importorskip("hatchling")
    project, wheels = tmp_path / "project", tmp_path / "wheels"
    ignored = shutil.ignore_patterns("__pycache__", "vendor", "models", ".*cache")
    shutil.copytree(ROOT / "flowercli", project / "flowercli", ignore=ignored)
    for name in ("web", "configs"):
        shutil.copytree(ROOT / name, project / name)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels], cwd=project, text=True,
        capture_output=True, check=False, timeout=120, env={**os.environ, "PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line for line in (done.stdout + done.stderr).splitlines() if "from npm" in line]
    assert told == ["The page will not answer in the browser: no onnxruntime-web from npm (npm is not installed)."]
    names = zipfile.ZipFile(next(wheels.glob("*.whl"))).namelist()
    assert "flowercli/serving/page/site/index.html" in names
    assert not any("vendor" in name for name in names)
