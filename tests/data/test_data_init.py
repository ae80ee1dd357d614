"""``flowers data init``: repeatable, without secrets, and every mistake of server, address and keys has its message."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("dvc_s3", reason="needs the extra 'data'")
pytest.importorskip("moto", reason="needs moto's S3 server")

from support.repositories import GIT, new_git, tree, write_photos
from support.s3 import client, moto_server, refusing

pytestmark = pytest.mark.usefixtures("aws")


def test_init_is_repeatable_and_writes_no_secret(tmp_path, s3, bucket, monkeypatch, at):
    url = f"s3://{bucket}/flowers"
    folder = tmp_path / "plain"
    folder.mkdir()
    outside = at(folder, "init", "--remote", url, "--endpoint-url", s3)
    assert outside.code == 2
    assert "git init" in outside.err
    assert "--no-scm" in outside.err
    assert list(folder.iterdir()) == []
    below = new_git(tmp_path / "repo") / "deep"
    below.mkdir()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    first = at(below, "init", "--remote", url, "--endpoint-url", s3)
    assert first.code == 0, first.err
    assert "git add" in first.err
    before = tree(below.parent / ".dvc")
    assert at(below, "init", "--remote", url, "--endpoint-url", s3).code == 0
    assert tree(below.parent / ".dvc") == before
    assert url.encode() in before["config"]
    assert b"secret" not in before["config"]
    log = subprocess.run([*GIT, "log"], cwd=below, capture_output=True, check=False)
    assert log.returncode != 0  # There is no commit.
    assert at(folder, "init", "--remote", url, "--endpoint-url", s3, "--no-scm").code == 0
    write_photos(folder / "blumen")
    assert at(folder, "push", "blumen").code == 0


def test_init_moves_its_own_remote_and_no_other(repo, s3, bucket, at):
    moved = at(repo, "init", "--remote", f"s3://{bucket}/elsewhere", "--endpoint-url", s3)
    assert "from s3://" in moved.err
    subprocess.run([sys.executable, "-m", "dvc", "remote", "rename", "-q", "flowers", "theirs"], cwd=repo, check=True)
    other = at(repo, "init", "--remote", f"s3://{bucket}/flowers", "--endpoint-url", s3)
    assert other.code == 2
    assert "'theirs'" in other.err


FAULTS = [
    (403, "AccessDenied", "denied: the bucket is private"),
    (403, "InvalidAccessKeyId", "does not know the access key"),
    (403, "SignatureDoesNotMatch", "refuses the secret key"),
    (400, "ExpiredToken", "have expired"),
    (403, "RequestTimeTooSkewed", "clock is wrong"),
    (301, "PermanentRedirect", "another region"),
    (503, "SlowDown", "overloaded"),
    (500, "InternalError", "failed inside"),
    (418, "Teapot", "answers Teapot: no"),
    (200, None, "does not answer as an S3 server does"),
    (404, None, "not an S3 server"),
]


@pytest.mark.parametrize(("status", "code", "words"), FAULTS)
def test_what_the_server_answers_is_explained(tmp_path, run, monkeypatch, status, code, words):
    folder = new_git(tmp_path / "repo")
    monkeypatch.chdir(folder)
    with refusing(status, code) as endpoint:
        done = run("data", "init", "--remote", "s3://photos/flowers", "--endpoint-url", endpoint)
    assert done.code == 1
    assert words in " ".join(done.err.split())
    assert not (folder / ".dvc").exists()


def test_wrong_addresses_and_credentials_are_explained(tmp_path, s3, bucket, run, monkeypatch):
    folder = new_git(tmp_path / "repo")
    monkeypatch.chdir(folder)

    def message(url=f"s3://{bucket}/flowers", endpoint=s3, code=1):
        done = run("data", "init", "--remote", url, "--endpoint-url", endpoint)
        assert done.code == code, done.err
        assert not (folder / ".dvc").exists()
        return " ".join(done.err.split())

    assert "no such bucket: s3://missing/flowers" in message("s3://missing/flowers")
    assert "not of the form s3://BUCKET" in message("https://example.org/x", code=2)
    assert "would be committed" in message("s3://key:secret@bucket/x", code=2)
    assert "Nothing answers" in message(endpoint="http://127.0.0.1:9")
    assert "is not known: no network" in message(endpoint="http://no.such.host.invalid")
    assert "no trusted TLS connection" in message(endpoint=s3.replace("http:", "https:"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "proxy" in message(endpoint="http://s3.example.org")
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("AWS_PROFILE", "unheard-of")
    assert "no AWS profile 'unheard-of'" in message()
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "incomplete" in message()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "no credentials" in message()


def test_keys_without_rights_are_refused_by_the_server(tmp_path, monkeypatch, at):
    with moto_server(INITIAL_NO_AUTH_ACTION_COUNT="3") as endpoint:
        client(endpoint).create_bucket(Bucket="photos")
        iam = client(endpoint, "iam")
        iam.create_user(UserName="guest")
        key = iam.create_access_key(UserName="guest")["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        folder = new_git(tmp_path / "repo")
        assert "is private" in at(folder, "init", "--remote", "s3://photos/x", "--endpoint-url", endpoint).err
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN000000000")
        assert "access key" in at(folder, "init", "--remote", "s3://photos/x", "--endpoint-url", endpoint).err


def test_a_repository_of_another_user_is_explained(tmp_path, run, monkeypatch):
    folder = new_git(tmp_path / "theirs")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    done = run("data", "init", "--remote", "s3://photos/flowers", "--endpoint-url", "http://127.0.0.1:9")
    assert done.code == 1
    assert "belongs to another user" in done.err
    assert f"git config --global --add safe.directory {folder}" in done.err
