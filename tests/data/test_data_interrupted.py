"""Pushes and pulls that are killed or meet a full disk: the same command goes on with what is there."""

from __future__ import annotations

import os
import resource
import signal
import subprocess

import pytest

pytest.importorskip("dvc_s3", reason="needs the extra 'data'")
pytest.importorskip("moto", reason="needs moto's S3 server")

from conftest import command
from support.repositories import clone, new_git, objects, process_at, tree
from support.s3 import client, proxy

pytestmark = pytest.mark.usefixtures("aws")


def test_killed_push_goes_on_where_it_was(tmp_path, s3, bucket, at):
    """Of 44 MB some 20 are on the server when the client is killed; they are not sent again."""
    folder = new_git(tmp_path / "repo")
    for name in ("a", "b"):
        (folder / "big" / name).mkdir(parents=True)
        (folder / "big" / name / "1.jpg").write_bytes(os.urandom(22_000_000))
    size = 44_000_000
    with proxy(s3) as way:
        assert at(folder, "init", "--remote", f"s3://{bucket}/flowers", "--endpoint-url", way.url).code == 0
        # Four parts of 8 MiB travel at a time: of these many bytes some are a whole part.
        way.passed, way.limit = 0, 36_000_000
        process = subprocess.Popen(command("data", "push", "big"), cwd=folder, stderr=subprocess.PIPE)
        assert way.stalled.wait(300)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert objects(s3, bucket) == {}
        parts = [
            part["Size"]
            for upload in client(s3).list_multipart_uploads(Bucket=bucket)["Uploads"]
            for part in client(s3).list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])["Parts"]
        ]
        assert parts
        way.passed, way.limit = 0, None
        again = at(folder, "push", "big")
        assert again.code == 0, again.err
        assert way.passed < size - sum(parts) + 500_000
    assert len(objects(s3, bucket)) == 1
    other = clone(folder, tmp_path / "other")
    done = at(other, "init", "--remote", f"s3://{bucket}/flowers", "--endpoint-url", s3)
    assert done.code == 0, done.err
    assert at(other, "pull").code == 0
    assert tree(other / "big") == tree(folder / "big")


def test_full_disk_is_told_and_the_command_goes_on(repo, tmp_path, at):
    (repo / "data" / "blumen" / "rose" / "large.jpg").write_bytes(os.urandom(600_000))
    assert at(repo, "push", "data/blumen").code == 0
    other = clone(repo, tmp_path / "other")

    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

    full = process_at(other, "pull", preexec_fn=small_files_only)
    assert full.code == 1
    assert "grows larger than is allowed" in full.err
    assert not (other / "data" / "blumen").exists()
    assert at(other, "pull").code == 0
    assert tree(other / "data" / "blumen") == tree(repo / "data" / "blumen")
