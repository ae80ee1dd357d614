"""Git and DVC repositories on this machine, their bucket on a real S3 server, and ways to run the program in them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import zlib

import pytest
from conftest import ROOT, Run, command, write_picture
from support.s3 import KEYS, client, moto_server

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")


@pytest.fixture(scope="session")
def s3():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """Give keys, and keep the user's own credentials and settings out."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "DVC_"))]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def bucket(s3, request):
    name = f"b{zlib.crc32(request.node.nodeid.encode())}"
    client(s3).create_bucket(Bucket=name)
    return name


@pytest.fixture
def at(run):
    """Run ``flowers data …`` in a folder, in this process: to start one with DVC takes as long as what it does."""
    import s3fs

    def call(folder, *arguments):
        # Its file systems would keep the keys of an earlier run.
        s3fs.S3FileSystem.clear_instance_cache()
        with contextlib.chdir(folder):
            return run("data", *arguments)

    return call


@pytest.fixture
def repo(tmp_path, s3, bucket, at):
    """Return a Git repository with a small dataset in it, ready to push."""
    folder = new_git(tmp_path / "repo")
    write_photos(folder / "data" / "blumen")
    assert at(folder, "init", "--remote", f"s3://{bucket}/flowers", "--endpoint-url", s3).code == 0
    return folder


def process_at(folder, *arguments, **options):
    """Run ``flowers data …`` as a process of its own in a folder."""
    done = subprocess.run(
        command("data", *arguments), cwd=folder, capture_output=True, text=True, check=False, timeout=400, **options
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Run(done.returncode, done.stdout, done.stderr)


def new_git(folder):
    folder.mkdir()
    subprocess.run([*GIT, "init", "-q"], cwd=folder, check=True)
    return folder


def clone(repo, target):
    """Commit what is to be committed, and nothing more, and clone it."""
    subprocess.run([*GIT, "add", "-A"], cwd=repo, check=True)
    subprocess.run([*GIT, "commit", "-qm", "data"], cwd=repo, check=True)
    subprocess.run([*GIT, "clone", "-q", repo, target], check=True)
    return target


def write_photos(folder):
    for name, colour in (("Gänse blümchen", (200, 200, 40)), ("rose", (200, 20, 40))):
        for number in range(3):
            write_picture(folder / name / f"bild {number}.jpg", colour, number)
    (folder / "rose" / "LICENSE.txt").write_text("CC BY")
    return folder


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def objects(s3, bucket):
    listed = client(s3).list_objects_v2(Bucket=bucket).get("Contents", [])
    return {entry["Key"]: entry["Size"] for entry in listed}


def dvc(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
