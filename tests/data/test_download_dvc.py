"""``flowers download dataset dvc``: an archive out of somebody's repository, from its remote on a real S3 server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("dvc_s3", reason="needs the extra 'data'")
pytest.importorskip("moto", reason="needs moto's S3 server")

from conftest import command, flowers
from support.repositories import GIT, objects, tree
from support.s3 import client

from flowercli.installation import add_extra

pytestmark = [pytest.mark.usefixtures("aws", "own_home"), pytest.mark.network]
ARCHIVE = "data/blumen.tar"


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path / "home"))


@pytest.fixture
def published(repo, at):
    """Return a repository with two versions of a dataset: one with the tag ``v1``, and one with a photograph less."""
    assert at(repo, "push", "data/blumen").code == 0
    subprocess.run([*GIT, "add", "-A"], cwd=repo, check=True)
    subprocess.run([*GIT, "commit", "-qm", "first"], cwd=repo, check=True)
    subprocess.run([*GIT, "tag", "v1"], cwd=repo, check=True)
    (repo / "data" / "blumen" / "rose" / "bild 0.jpg").unlink()
    assert at(repo, "push", "data/blumen").code == 0
    subprocess.run([*GIT, "commit", "-qam", "second"], cwd=repo, check=True)
    return repo


def test_a_version_comes_out_of_a_clone_and_of_a_folder(published, run):
    url = published.as_uri()
    first = run("download", "dataset", "dvc", "--repo", url, "--path", ARCHIVE, "--rev", "v1", "--json")
    assert first.code == 0, first.err
    assert "MD5 as expected" in first.err
    summary = json.loads(first.out)
    assert summary["counts"] == {"Gänse blümchen": 3, "rose": 3}
    assert summary["source"] == f"{url}@v1:{ARCHIVE}"
    now = run("download", "dataset", "dvc", "--repo", published, "--path", ARCHIVE, "--name", "now", "--json")
    assert json.loads(now.out)["counts"] == {"Gänse blümchen": 3, "rose": 2}
    assert tree(Path(json.loads(now.out)["path"])) == tree(published / "data" / "blumen")
    # By DVC's hash it is known what is there, whatever the revision is called.
    head = subprocess.run([*GIT, "rev-parse", "v1"], cwd=published, capture_output=True, text=True, check=True)
    again = run("download", "dataset", "dvc", "--repo", url, "--path", ARCHIVE, "--rev", head.stdout.strip(), "--json")
    assert (again.code, json.loads(again.out)["new"]) == (0, False)
    other = run("download", "dataset", "dvc", "--repo", url, "--path", ARCHIVE)
    assert other.code == 2
    assert "is there already" in other.err


def test_what_the_remote_has_lost_or_altered_is_told(published, run, s3, bucket):
    arguments = ("download", "dataset", "dvc", "--repo", published.as_uri(), "--path", ARCHIVE)
    for key in objects(s3, bucket):
        client(s3).put_object(Bucket=bucket, Key=key, Body=b"x" * objects(s3, bucket)[key])
    altered = run(*arguments)
    assert altered.code == 1
    assert "it is another file, or a damaged one" in altered.err
    for key in objects(s3, bucket):
        client(s3).delete_object(Bucket=bucket, Key=key)
    lost = run(*arguments)
    assert lost.code == 1
    assert "The remote does not hold" in lost.err
    assert "flowers data push" in lost.err
    assert run("download", "--list").out == ""


def test_mistakes_are_told(published, tmp_path, run):
    url = published.as_uri()
    for arguments, code, words in (
        (("--repo", url, "--path", "data/blumen"), 2, "--path data/blumen.tar"),
        (("--repo", url, "--path", "data"), 2, "is a folder, not an archive"),
        (("--repo", url, "--path", "none.tar"), 2, f"dvc list -R {url}"),
        (("--repo", tmp_path / "none", "--path", ARCHIVE), 2, "there is no such folder"),
        (("--repo", "file:///none/x.git", "--path", ARCHIVE), 1, "git ls-remote file:///none/x.git"),
        (("--repo", "https://me:secret@127.0.0.1/x.git", "--path", ARCHIVE), 2, "A login in an address"),
        (("--path", ARCHIVE), 2, "--repo and --path belong together"),
        (("--repo", url, "--path", ARCHIVE, "--url", "x"), 2, "--url is for the named sources"),
    ):
        done = run("download", "dataset", "dvc", *arguments)
        assert (done.code, done.out) == (code, ""), done.err
        assert words in done.err
        assert "secret" not in done.err
    other = run("download", "dataset", "oxford17", "--repo", url, "--path", ARCHIVE)
    assert "not for oxford17" in other.err


def test_an_unknown_revision_is_told(published):
    # A process of its own, as Git's files are left open when it is not found.
    done = flowers("download", "dataset", "dvc", "--repo", published.as_uri(), "--path", ARCHIVE, "--rev", "v9")
    assert done.code == 2
    assert "has no revision 'v9'" in done.err


def test_without_the_extra_it_is_named(tmp_path):
    hidden = "import sys; sys.modules['dvc'] = None; from flowercli.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ("download", "dataset", "dvc", "--repo", str(tmp_path), "--path", ARCHIVE)
    done = subprocess.run([command()[0], "-c", hidden, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert add_extra("data") in done.stderr
