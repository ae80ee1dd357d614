"""The README's section on data, as it is written, against servers on loopback.

Filled in are the words in capitals, and the archive: the public one has 229 MB and is not here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile

import pytest

pytest.importorskip("dvc_s3", reason="needs the extra 'data'")
pytest.importorskip("moto", reason="needs moto's S3 server")

from conftest import ROOT, SAMPLES, write_dataset
from support.hub import Hub, client_environment, serving
from support.s3 import KEYS, client, moto_server

from flowercli.models import FOLDER

BACKBONE = "timm/rexnet_150.nav_in1k"


def commands():
    """Return the lines of the section's code blocks, without comments and installation."""
    section = (ROOT / "README.md").read_text().partition("## Data and weights\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith("pip install")]


@pytest.mark.slow
def test_data_section_of_the_readme(tmp_path):
    shutil.copytree(FOLDER / "flowers5", tmp_path / "hub" / "OWNER" / "NAME")
    (tmp_path / "hub" / BACKBONE).mkdir(parents=True)
    (tmp_path / "hub" / BACKBONE / "config.json").write_text(json.dumps({"architecture": "rexnet_150"}))
    (tmp_path / "hub" / BACKBONE / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    shutil.copy(SAMPLES / "rose.jpg", tmp_path / "picture.jpg")
    photos = write_dataset(tmp_path / "flower_photos", photos=4)
    with tarfile.open(tmp_path / "photos.tgz", "w:gz") as archive:
        archive.add(photos, "flower_photos")
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", repository], check=True)
    shutil.copytree(photos, repository / "data" / "flower_photos")
    with serving(Hub(tmp_path / "hub")) as hub, moto_server() as s3:
        client(s3).create_bucket(Bucket="bucket")
        filled = "\n".join(commands()).replace("REPOSITORY", str(repository)).replace("BUCKET/PREFIX", "bucket/flowers")
        script = filled.replace("download dataset", f"download dataset {tmp_path}/photos.tgz --name flower_photos")
        program = f'flowers() {{ "{sys.executable}" -W error -m flowercli "$@"; }}\n'
        environment = client_environment(hub, tmp_path) | KEYS | {"AWS_ENDPOINT_URL": s3, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "-e", "-c", program + script], cwd=tmp_path, env=environment | {"HOME": str(tmp_path)},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for name in ("flower_photos", BACKBONE, "OWNER/NAME", "rose"):
            assert name in done.stdout
        assert client(s3).list_objects_v2(Bucket="bucket", Prefix="flowers/")["KeyCount"] == 1
    assert len(commands()) == 8
