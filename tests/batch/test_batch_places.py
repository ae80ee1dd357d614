"""Photographs and answers in a bucket: the same answers as of files; objects that are broken, missing, forbidden."""

from __future__ import annotations

import json
import os

import pytest
from conftest import flowers

pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
pytest.importorskip("moto", reason="needs moto's S3 server")

from support.s3 import KEYS, client, moto_server

pytestmark = pytest.mark.network
MODEL = ("--model", "flowers5")
NAMES = (
    "a b.jpg",
    "50%25?.jpg",
    "ü#.jpg",
    "deep/er/rose.jpg",
    "broken.jpg",
    "forbidden.jpg",
    ".hidden.jpg",
    "notes.txt",
)


@pytest.fixture(scope="module")
def bucket(dataset):
    """Serve a bucket whose guest may do all but read one object; yields the environment of that guest."""
    pictures = sorted(dataset.glob("*/*.jpg"))
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::garden/photos/forbidden.jpg"}
    with moto_server(INITIAL_NO_AUTH_ACTION_COUNT=str(len(NAMES) + 4)) as endpoint:
        store, users = client(endpoint), client(endpoint, "iam")
        store.create_bucket(Bucket="garden")
        for name, picture in zip(NAMES, pictures, strict=False):
            content = b"no picture" if name == "broken.jpg" else picture.read_bytes()
            store.put_object(Bucket="garden", Key=f"photos/{name}", Body=content)
        users.create_user(UserName="guest")
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
        users.put_user_policy(UserName="guest", PolicyName="all but one", PolicyDocument=policy)
        key = users.create_access_key(UserName="guest")["AccessKey"]
        own = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        yield {**os.environ, **KEYS, **own, "AWS_ENDPOINT_URL": endpoint}


def objects(text):
    return {one["path"]: one for one in map(json.loads, text.splitlines())}


def test_a_bucket_is_answered_into_a_bucket(bucket, dataset):
    arguments = ("classify", "s3://garden/photos/", *MODEL, "--out", "s3://garden/answers", "--part-size", 3)
    done = flowers(*arguments, env=bucket)
    assert done.out == "6 photographs = 4 answered + 2 errors, in 2 parts\n", done.err
    found = json.loads(flowers("answers", "s3://garden/answers", "--json", env=bucket).out)
    assert found["complete"]
    assert found["errors"] == {"not_an_image": 1, "not_permitted": 1}
    answers = objects(flowers("answers", "s3://garden/answers", "--format", "json", env=bucket).out)
    plainly = objects(flowers("classify", "s3://garden/photos", *MODEL, "--json", env=bucket).out)
    assert answers == plainly
    for name, picture in zip(NAMES[:4], sorted(dataset.glob("*/*.jpg")), strict=False):
        of_file = objects(flowers("classify", picture, *MODEL, "--json").out)[str(picture)]
        assert answers[f"s3://garden/photos/{name}"] | {"path": str(picture)} == of_file
    assert flowers(*arguments, env=bucket).out == "Nothing was missing.\n"


def test_objects_that_are_gone_and_a_list_of_objects(bucket, tmp_path):
    names = "".join(f"s3://garden/photos/{name}\n" for name in ("a b.jpg", "gone.jpg"))
    (tmp_path / "names").write_text(names)
    with (tmp_path / "names").open() as stdin:
        done = flowers("classify", "-", *MODEL, "--out", tmp_path / "answers", env=bucket, stdin=stdin)
    assert (done.code, done.out) == (3, "2 photographs = 1 answered + 1 error, in 1 part\n")
    assert json.loads(flowers("answers", tmp_path / "answers", "--json").out)["errors"] == {"not_found": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s3://nowhere/photos", "--out", "OUT"], "nothing at s3://nowhere/photos"),
        (["s3://garden/photoz", "--out", "OUT"], "nothing at s3://garden/photoz"),
        (["docs/samples", "--out", "s3://nowhere/answers"], "no such bucket: s3://nowhere/answers"),
        (["docs/samples", "--out", "s3://"], "no usable address"),
    ],
)
def test_a_place_that_is_none_is_told(bucket, tmp_path, arguments, words):
    done = flowers("classify", *(str(tmp_path) if one == "OUT" else one for one in arguments), *MODEL, env=bucket)
    assert (done.code, done.out) == (1, "")
    assert words in done.err
    assert "Traceback" not in done.err
    right = flowers("classify", "docs/samples", *MODEL, "--out", tmp_path, env=bucket)
    assert right.out == "5 photographs = 5 answered + 0 errors, in 1 part\n"
