"""``flowers data``: real DVC, a real S3 server; what arrives is what was sent, every mistake has its message."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile

import pytest

pytest.importorskip("dvc_s3", reason="needs the extra 'data'")
pytest.importorskip("moto", reason="needs moto's S3 server")

from conftest import ROOT, Run, command, write_picture
from s3 import KEYS, client, moto_server, proxy, refusing

from flowercli.data.packing import pack, packed_md5, unpack
from flowercli.errors import DataError
from flowercli.models import FOLDER

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")


@pytest.fixture(scope="session")
def s3():
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
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
    name = f"b{abs(hash(request.node.nodeid))}"
    client(s3).create_bucket(Bucket=name)
    return name


@pytest.fixture
def repo(tmp_path, s3, bucket):
    """Return a Git repository with a small dataset in it, ready to push."""
    folder = new_git(tmp_path / "repo")
    write_photos(folder / "data" / "blumen")
    assert at(folder, "init", "--remote", f"s3://{bucket}/flowers", "--endpoint-url", s3).code == 0
    return folder


def at(folder, *arguments, **options):
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


def test_init_is_repeatable_and_writes_no_secret(tmp_path, s3, bucket, monkeypatch):
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


def test_init_moves_its_own_remote_and_no_other(repo, s3, bucket):
    moved = at(repo, "init", "--remote", f"s3://{bucket}/elsewhere", "--endpoint-url", s3)
    assert "from s3://" in moved.err
    subprocess.run([sys.executable, "-m", "dvc", "remote", "rename", "-q", "flowers", "theirs"], cwd=repo, check=True)
    other = at(repo, "init", "--remote", f"s3://{bucket}/flowers", "--endpoint-url", s3)
    assert other.code == 2
    assert "'theirs'" in other.err


def test_what_is_pulled_is_what_was_pushed(repo, tmp_path, s3, bucket):
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


def test_changed_folder_is_kept_unless_forced(repo):
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


def test_killed_push_goes_on_where_it_was(tmp_path, s3, bucket):
    """Of 44 MB some 20 are on the server when the client is killed; they are not sent again."""
    folder = new_git(tmp_path / "repo")
    for name in ("a", "b"):
        (folder / "big" / name).mkdir(parents=True)
        (folder / "big" / name / "1.jpg").write_bytes(os.urandom(22_000_000))
    size = 44_000_000
    with proxy(s3) as way:
        assert at(folder, "init", "--remote", f"s3://{bucket}/flowers", "--endpoint-url", way.url).code == 0
        way.passed, way.limit = 0, 30_000_000
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


def test_object_that_is_not_what_its_name_says_is_refused(repo, tmp_path, s3, bucket):
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


def test_full_disk_is_told_and_the_command_goes_on(repo, tmp_path):
    (repo / "data" / "blumen" / "rose" / "large.jpg").write_bytes(os.urandom(600_000))
    assert at(repo, "push", "data/blumen").code == 0
    other = clone(repo, tmp_path / "other")

    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

    full = at(other, "pull", preexec_fn=small_files_only)
    assert full.code == 1
    assert "disk is full" in full.err
    assert not (other / "data" / "blumen").exists()
    assert at(other, "pull").code == 0
    assert tree(other / "data" / "blumen") == tree(repo / "data" / "blumen")


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


def test_private_and_public_buckets(repo, tmp_path, s3, bucket, monkeypatch):
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


def test_keys_without_rights_are_refused_by_the_server(tmp_path, monkeypatch):
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


def test_mistakes_in_the_repository(repo, tmp_path):
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
        assert "pip install 'flowercli[data]'" in done.stderr


def test_a_dataset_always_packs_to_the_same_bytes(tmp_path):
    first, second = write_photos(tmp_path / "first"), tmp_path / "second"
    for path in sorted(first.rglob("*"), reverse=True):
        target = second / path.relative_to(first)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            target.chmod(0o600)
            os.utime(target, (1, 1))
    (second / ".DS_Store").write_bytes(b"hidden")
    pack(first, tmp_path / "1.tar")
    pack(second, tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    assert packed_md5(first) == packed_md5(second)
    unpack(tmp_path / "1.tar", new_folder := tmp_path / "unpacked")
    assert tree(new_folder) == tree(first)


@pytest.mark.parametrize("kind", ["link", "above", "device", "cut"])
def test_archive_that_packing_never_made_is_refused(tmp_path, kind):
    archive, target = tmp_path / "bad.tar", tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("../escaped" if kind == "above" else "thing")
        member.type = {"link": tarfile.SYMTYPE, "device": tarfile.CHRTYPE}.get(kind, tarfile.REGTYPE)
        member.linkname = "/etc/passwd"
        tar.addfile(member)
    if kind == "cut":
        archive.write_bytes(archive.read_bytes()[:300])
    with pytest.raises(DataError):
        unpack(archive, target)
    assert list(target.iterdir()) == []
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Put the program on the PATH under its name, for DVC to find."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "flowers").write_text(f'#!/bin/sh\nexec {sys.executable} -W error -m flowercli "$@"\n')
    (folder / "flowers").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def dvc(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("on_path")
def test_the_pipeline_runs_and_its_metrics_and_plots_are_real(tmp_path, s3, bucket, dataset):
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
