"""The named sources, Kaggle through its own client, and archives on S3."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import write_dataset, write_picture
from support.archive_server import Answer, archive_server
from support.transfers import CLASSES, visible

pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.network]


def numbered(tmp_path, pattern, count):
    """Return an archive of Oxford's kind; one picture will do for all."""
    picture = tmp_path / "picture.jpg"
    write_picture(picture, (200, 100, 0), 1)
    content = picture.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(1, count + 1):
            member = tarfile.TarInfo("jpg/" + pattern % number)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        tar.addfile(tarfile.TarInfo("jpg/files.txt"))
    return buffer.getvalue()


def test_oxford17_is_sorted_into_its_classes(run, tmp_path):
    content = numbered(tmp_path, "image_%04d.jpg", 1360)
    sha256 = hashlib.sha256(content).hexdigest()
    with archive_server({"/17flowers.tgz": content}) as server:
        done = run(
            "download", "dataset", "oxford17", "--url", server.url("/17flowers.tgz"), "--sha256", sha256, "--json"
        )
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert len(summary["counts"]) == 17
    assert set(summary["counts"].values()) == {80}
    # As in the copies that people have sorted by hand.
    for number, name in ((1, "daffodil"), (241, "bluebell"), (320, "bluebell"), (640, "tulip"), (1360, "pansy")):
        assert (Path(summary["path"]) / name / f"image_{number:04}.jpg").is_file()


def test_oxford102_takes_no_labels_but_the_right_ones(run, tmp_path, own_home):
    content = numbered(tmp_path, "image_%05d.jpg", 3)
    sha256 = hashlib.sha256(content).hexdigest()
    with archive_server({"/102flowers.tgz": content, "/imagelabels.mat": bytes(502)}) as server:
        done = run("download", "dataset", "oxford102", "--url", server.url("/102flowers.tgz"), "--sha256", sha256)
    assert done.code == 1
    assert "imagelabels.mat has the sha256" in done.err
    assert visible(own_home / "datasets") == []


def test_oxford102_is_sorted_by_its_labels(tmp_path):
    savemat = pytest.importorskip("scipy.io", reason="writes the labels file").savemat
    from flowercli.data.archive import extract
    from flowercli.data.oxford import NAMES_102, arrange_102, read_mat

    labels = [1 + number % 102 for number in range(300)]
    (tmp_path / "archive").write_bytes(numbered(tmp_path, "image_%05d.jpg", len(labels)))
    (tmp_path / "unpacked").mkdir()
    extract(tmp_path / "archive", tmp_path / "unpacked")
    for kind, compressed in (("float64", False), ("uint8", True)):
        import numpy as np

        savemat(tmp_path / "imagelabels.mat", {"labels": np.array([labels], kind)}, do_compression=compressed)
        assert read_mat((tmp_path / "imagelabels.mat").read_bytes()).tolist() == labels
    folder = arrange_102(tmp_path / "unpacked", tmp_path)
    assert len(visible(folder)) == 102
    assert (folder / NAMES_102[72] / "image_00073.jpg").is_file()
    assert NAMES_102[72] == "water_lily"


def test_kaggle_through_its_own_client(run, tmp_path, monkeypatch):
    """Its client has one local address, this port. Not covered: logins, and Kaggle's own redirection to its storage."""
    pytest.importorskip("kagglehub", reason="needs the extra 'data'")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    photos = write_dataset(tmp_path / "photos", photos=2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in photos.rglob("*.jpg"):
            archive.write(path, Path("flower_photos", path.relative_to(photos)))
    try:
        context = archive_server({"/signed.zip": buffer.getvalue()}, port=7777)
        server = context.__enter__()
    except OSError:
        pytest.skip("port 7777 is taken")
    try:
        lead = Answer(status=302, headers={"Location": server.url("/signed.zip")})
        # The redirection is followed once by Kaggle's client; then it is asked for by ours, cut, and asked for again.
        server.plan = [lead, Answer(), Answer(cut_after=3000), lead, Answer()]
        done = run("download", "dataset", "kaggle")
        assert done.code == 0, done.err
        assert done.out.strip().endswith("datasets/flowers-dataset")
        assert visible(done.out.strip()) == CLASSES
        assert server.requests[0][0].endswith("DatasetApiService/DownloadDataset")
        assert server.requests[-1] == ("/signed.zip", "bytes=3000-")
        (entry,) = json.loads(run("download", "--list", "--json").out)["installed"]
        assert (entry["revision"], entry["sha256"]) == ("1", hashlib.sha256(buffer.getvalue()).hexdigest())
        server.usual = Answer(status=403)
        refused = run("download", "dataset", "kaggle", "--name", "again")
        assert refused.code == 1
        assert "Kaggle refuses access (403)" in refused.err
    finally:
        context.__exit__(None, None, None)


@pytest.fixture
def objects_client(monkeypatch, tmp_path):
    """Start an S3 server, and return a client of it."""
    threaded = pytest.importorskip("moto.server", reason="needs moto").ThreadedMotoServer
    boto3 = pytest.importorskip("boto3", reason="needs the extra 'data'")
    server = threaded(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield boto3.client("s3", region_name="us-east-1")
    finally:
        server.stop()


def test_an_archive_from_s3(run, objects_client, archive, sha256, monkeypatch):
    objects_client.create_bucket(Bucket="flowers")
    objects_client.put_object(Bucket="flowers", Key="some where/colours.tgz", Body=archive)
    url = "s3://flowers/some where/colours.tgz"
    done = run("download", "dataset", url, "--sha256", sha256)
    assert done.code == 0, done.err
    assert visible(done.out.strip()) == CLASSES
    missing = run("download", "dataset", "s3://flowers/other.tgz")
    assert (missing.code, "no such object" in missing.err) == (1, True)
    missing = run("download", "dataset", "s3://no-bucket-here/other.tgz")
    assert (missing.code, "no such bucket" in missing.err) == (1, True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    objects_client.put_object_acl(Bucket="flowers", Key="some where/colours.tgz", ACL="public-read")
    anonymous = run("download", "dataset", url, "--sha256", sha256, "--name", "again")
    assert anonymous.code == 0, anonymous.err
