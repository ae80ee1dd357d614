"""``flowers data push`` and ``pull``: real DVC, a real S3 server; what arrives is what was sent, mistakes are told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("dvc_s3", reason="needs the extra 'data'")
pytest.importorskip("moto", reason="needs moto's S3 server")

from support.repositories import GIT, clone, objects, tree, write_photos
from support.s3 import client

from flowercli.installation import add_extra
from flowercli.models import FOLDER

pytestmark = pytest.mark.usefixtures("aws")


def test_what_is_pulled_is_what_was_pushed(repo, tmp_path, s3, bucket, at):
    shutil.copytree(FOLDER / "flowers5", repo / "models" / "mine")
    sent = at(repo, "push", "data/blumen")
    assert sent.code == 0, sent.err
    assert sent.out == "data/blumen.tar.dvc\n"
    assert "git add data/blumen.tar.dvc data/.gitignore" in sent.err
    assert json.loads(at(repo, "push", "models/mine", "--json").out)["kind"] == "model"
    other = clone(repo, tmp_path / "other")
    assert [path.name for path in (other / "data").iterdir() if path.is_dir()] == []
    status = {entry["path"]: entry for entry in json.loads(at(other, "status", "--json").out)["tracked"]}
    assert status["data/blumen"]["state"] == "missing"
    assert status["models/mine"]["pushed"] is True
    pulled = at(other, "pull")
    assert pulled.code == 0, pulled.err
    assert pulled.out == "data/blumen\nmodels/mine\n"
    assert tree(other / "data" / "blumen") == tree(repo / "data" / "blumen")
    assert tree(other / "models" / "mine") == tree(repo / "models" / "mine")
    clean = subprocess.run([*GIT, "status", "--porcelain"], cwd=other, capture_output=True, text=True, check=True)
    assert clean.stdout == ""
    there = objects(s3, bucket)
    assert json.loads(at(other, "push", "data/blumen", "--json").out)["objects_sent"] == 0
    assert objects(s3, bucket) == there
    assert "data/blumen is current" in at(other, "pull", "data/blumen").err


def test_changed_folder_is_kept_unless_forced(repo, at):
    assert at(repo, "push", "data/blumen").code == 0
    photo = repo / "data" / "blumen" / "rose" / "bild 0.jpg"
    before = photo.read_bytes()
    photo.write_bytes(b"mine")
    assert json.loads(at(repo, "status", "--json", "--local").out)["tracked"][0]["state"] == "changed"
    refused = at(repo, "pull")
    assert refused.code == 1
    assert "--force" in refused.err
    assert photo.read_bytes() == b"mine"
    assert at(repo, "pull", "data/blumen", "--force").code == 0
    assert photo.read_bytes() == before
    assert not [path for path in (repo / "data").iterdir() if path.name.startswith(".partial")]


def test_object_that_is_not_what_its_name_says_is_refused(repo, tmp_path, s3, bucket, at):
    assert at(repo, "push", "data/blumen").code == 0
    [key] = objects(s3, bucket)
    other = clone(repo, tmp_path / "other")
    content = client(s3).get_object(Bucket=bucket, Key=key)["Body"].read()
    client(s3).put_object(Bucket=bucket, Key=key, Body=content[:5000] + b"x" + content[5001:])
    wrong = at(other, "pull")
    assert wrong.code == 1
    assert "is not what its hash says" in wrong.err
    assert not (other / "data" / "blumen").exists()
    client(s3).delete_object(Bucket=bucket, Key=key)
    gone = at(other, "pull")
    assert gone.code == 1
    assert "flowers data push data/blumen" in gone.err


def test_private_and_public_buckets(repo, tmp_path, s3, bucket, monkeypatch, at):
    """moto itself refuses a reader without a signature, unless the objects are public."""
    assert at(repo, "push", "data/blumen").code == 0
    other = clone(repo, tmp_path / "other")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "no credentials" in at(other, "pull").err
    assert "denied" in at(other, "pull", "--anonymous").err
    assert not (other / "data" / "blumen").exists()
    status = at(other, "status")
    assert status.code == 1
    assert "not asked" in status.out
    [key] = objects(s3, bucket)
    client(s3).put_bucket_acl(Bucket=bucket, ACL="public-read")
    client(s3).put_object_acl(Bucket=bucket, Key=key, ACL="public-read")
    public = at(other, "pull", "--anonymous")
    assert public.code == 0, public.err
    assert tree(other / "data" / "blumen") == tree(repo / "data" / "blumen")


def test_mistakes_in_the_repository(repo, tmp_path, at):
    nowhere = at(tmp_path, "status")
    assert nowhere.code == 2
    assert "flowers data init --remote" in nowhere.err
    assert "is not tracked" in at(repo, "pull", "data/blumen").err
    assert at(repo, "push", "data/none").code == 2
    assert "Nothing is tracked yet" in at(repo, "status").err
    (repo / "data" / "blumen" / "rose" / "link.jpg").symlink_to("bild 0.jpg")
    assert "link.jpg is a link" in at(repo, "push", "data/blumen").err
    shutil.copytree(FOLDER / "flowers5", repo / "broken")
    (repo / "broken" / "model.int8.onnx").write_bytes(b"short")
    assert at(repo, "push", "broken").code == 1
    outside = write_photos(tmp_path / "outside")
    assert at(repo, "push", outside).code == 2
    script = (
        "import sys, time; from dvc.repo import Repo, lock_repo\n"
        "with lock_repo(Repo(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, repo], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert "Another process is using DVC" in at(repo, "status", "--local").err
        holder.kill()


def test_missing_extra_is_named(tmp_path):
    script = "import sys; sys.modules['dvc'] = None\nfrom flowercli.cli.main import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (("init", "--remote", "s3://b/x", "--no-scm"), ("push", "."), ("pull",), ("status",)):
        done = subprocess.run(
            [sys.executable, "-c", script, "data", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 4, done.stderr
        assert add_extra("data") in done.stderr
