"""The recipes for clusters: their command lines answer, their pods are valid, and their numbers agree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, SAMPLES, Run

DEPLOY = ROOT / "deploy"
SLURM = DEPLOY / "classify-slurm.sh"
BUCKETS = ("s3://bucket/photos", "s3://bucket/answers")


def document(name):
    return yaml.safe_load((DEPLOY / name).read_text())


def container(name):
    return document(name)["spec"]["template"]["spec"]["containers"][0]


def ran(line, tmp_path, **environment):
    """Run a command line of a recipe, with this environment's program and a `srun` that runs what it is given."""
    (tmp_path / "bin").mkdir()
    for name, text in (("flowers", f'exec "{sys.executable}" -m flowercli "$@"'), ("srun", 'shift; exec "$@"')):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    own = {**os.environ, **environment, "PATH": path, "PYTHONPATH": str(ROOT), "FLOWERS_MODEL": "flowers5"}
    done = subprocess.run(line, env=own, capture_output=True, text=True, check=False, timeout=120)
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def photos(tmp_path):
    """Return a folder with a rose and a file that is none: whose exit code 3 is no failure of a task."""
    pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
    (tmp_path / "photos").mkdir()
    shutil.copy(SAMPLES / "rose.jpg", tmp_path / "photos")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "photos"


def test_a_task_of_the_array_answers_its_shard(photos, tmp_path):
    line = ["bash", SLURM, photos, tmp_path / "answers"]
    done = ran(line, tmp_path, SLURM_ARRAY_TASK_ID="1", SLURM_CPUS_PER_TASK="2")
    assert (done.code, done.out) == (0, "2 photographs = 1 answered + 1 error, in 1 part\n"), done.err
    shares = re.search(r"#SBATCH --array=1-(\d+)\n", SLURM.read_text())[1]
    assert f"\nreadonly shards={shares}\n" in SLURM.read_text()


def test_an_index_of_the_job_answers_its_shard(photos, tmp_path):
    shell, option, script = container("classify-job.yaml")["command"]
    for bucket, folder in zip(BUCKETS, (photos, tmp_path / "answers"), strict=True):
        assert bucket in script
        script = script.replace(bucket, str(folder))
    done = ran([shell, option, script], tmp_path, JOB_COMPLETION_INDEX="0")
    assert (done.code, done.out) == (0, "2 photographs = 1 answered + 1 error, in 1 part\n"), done.err
    job = document("classify-job.yaml")["spec"]
    assert f'/{job["completions"]}"' in script
    (threads,) = [
        entry["value"] for entry in container("classify-job.yaml")["env"] if entry["name"] == "FLOWERS_THREADS"
    ]
    assert threads == container("classify-job.yaml")["resources"]["requests"]["cpu"]


def test_the_pods_of_rays_job_are_valid():
    validate = pytest.importorskip("kubernetes_validate")
    job = document("classify-ray.yaml")["spec"]
    cluster = job["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **group["template"]}
        validate.validate(pod, "1.37", strict=True)
    assert all(bucket in job["entrypoint"] for bucket in BUCKETS)
    assert "--engine ray --address auto" in job["entrypoint"]
