"""The pipeline that ``flowers data pipeline`` writes, run by DVC itself."""

from __future__ import annotations

import json
import os
import shlex
import shutil

import pytest
import yaml

pytest.importorskip("dvc_s3", reason="needs the extra 'data'")
pytest.importorskip("moto", reason="needs moto's S3 server")

from support.forked import forked_program
from support.repositories import clone, dvc, new_git, tree, write_photos

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Put the program on the PATH under its name, for DVC to find."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "flowers").write_text(f'#!/bin/sh\nexec {shlex.join(forked_program())} "$@"\n')
    (folder / "flowers").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.slow
@pytest.mark.usefixtures("on_path")
def test_the_pipeline_runs_and_its_metrics_and_plots_are_real(tmp_path, s3, bucket, dataset, at):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    folder = new_git(tmp_path / "repo")
    shutil.copytree(dataset, folder / "colours")
    assert at(folder, "init", "--remote", f"s3://{bucket}/x", "--endpoint-url", s3).code == 0
    written = at(folder, "pipeline", "colours", "--model", "tiny")
    assert written.out == "dvc.yaml\nparams.yaml\n"
    assert "already" in at(folder, "pipeline", "colours").err
    settings = ("train.epochs=2", "train.batch_size=16", "train.lr=0.003", "export.max_drop=60")
    parameters = folder / "params.yaml"
    text = parameters.read_text().replace('more: ""', "more: loss=ce num_workers=0 validate_every=2")
    for name, value in (setting.split("=") for setting in settings):
        key = name.partition(".")[2]
        [line] = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
        text = text.replace(line, f"  {key}: {value}")
    parameters.write_text(text)
    dvc(folder, "repro")
    assert "up to date" in dvc(folder, "repro")
    metrics = json.loads(dvc(folder, "metrics", "show", "--json"))[""]["data"]
    test = metrics["eval/metrics.json"]["data"]["test"]["torch"]
    assert 0.3 < test["accuracy"] <= 1
    assert metrics["export/metrics.json"]["data"]["int8"]["size"] > 10_000
    plots = {
        name: plot[0]["content"] for name, plot in json.loads(dvc(folder, "plots", "show", "--json"))["data"].items()
    }
    pairs = plots["Confusion matrix"]["data"]["values"]
    photos = len([1 for row in json.loads((folder / "split.json").read_text())["photos"] if row["split"] == "test"])
    assert len(pairs) == photos
    right = [pair["actual"] == pair["predicted"] for pair in pairs]
    assert sum(right) / len(right) == pytest.approx(test["accuracy"], abs=1e-4)
    assert len(plots["Training loss"]["data"]["values"]) == 2
    assert 0 <= float(plots["Validation accuracy"]["data"]["values"][0]["val_accuracy"]) <= 1
    assert "dvc push" in at(folder, "push", "model").err
    dvc(folder, "push")
    other = clone(folder, tmp_path / "other")
    dvc(other, "pull", "-q", "model")
    assert tree(other / "model") == tree(folder / "model")


def test_a_dataset_of_any_name_is_quoted(tmp_path, run, monkeypatch):
    monkeypatch.chdir(new_git(tmp_path / "repo"))
    for name in ("roses: 'red' # & blue é🌹", "rose$HOME"):
        write_photos(tmp_path / "repo" / name)
    refused = run("data", "pipeline", "rose$HOME")
    assert refused.code == 2
    assert "cannot stand in a command" in refused.err
    assert run("data", "pipeline", "roses: 'red' # & blue é🌹", "--model", "tiny").code == 0
    data = yaml.safe_load((tmp_path / "repo" / "params.yaml").read_text())["data"]
    split = yaml.safe_load((tmp_path / "repo" / "dvc.yaml").read_text())["stages"]["split"]["cmd"]
    words = shlex.split(split.replace("${data}", data))
    assert words[:3] == ["flowers", "split", "roses: 'red' # & blue é🌹"]
