"""Where the Hub leads for the bytes of its large files: on to another host, without the token, and to no other file."""

from __future__ import annotations

import shutil

import pytest
from support.hub import Fault, Hub, serving

from flowercli.models import FOLDER

pytestmark = pytest.mark.network

NAME = "me/five"
EMBEDDINGS = "embeddings.npz"
TOKEN = "hf_good"  # noqa: S105


@pytest.fixture
def hub(tmp_path):
    """Serve a private model whose graph lies at another host, as far as a client can tell."""
    shutil.copytree(FOLDER / "flowers5", tmp_path / "hub" / NAME)
    with serving(Hub(tmp_path / "hub", tokens={TOKEN: {"me"}}, private={NAME})) as served:
        served.storage = served.endpoint.replace("127.0.0.1", "localhost")
        yield served


@pytest.fixture
def fetch(program):
    return lambda: program("download", "model", NAME, "--retries", 1, HF_TOKEN=TOKEN)


def test_the_token_stays_with_the_hub(hub, fetch):
    hub.faults = [Fault("/stored/", cut_after=100_000)]
    done = fetch()
    assert done.code == 0, done.err
    # The embeddings in two parts, the graph, and the reference.
    assert hub.tokens_at_storage == [""] * 4
    # Each try asks the Hub anew, for an address that may hold for minutes only, and goes on from what is there.
    ranges = [part for _, path, part in hub.requests if path.endswith(EMBEDDINGS) or "stored" in path]
    assert ranges == [None, None, "bytes=100000-", "bytes=100000-", None, None]


def test_on_the_same_host_the_token_goes_along(hub, fetch):
    hub.storage = hub.endpoint
    assert fetch().code == 0
    assert hub.tokens_at_storage == [TOKEN] * 3


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("X-Linked-ETag", "0" * 64, "embeddings.npz of"), ("X-Repo-Commit", "0" * 40, "config.json of")],
)
def test_a_mirror_with_another_version_is_not_fetched_from(hub, fetch, name, value, words):
    hub.stated = {name: value}
    done = fetch()
    assert (done.code, done.out) == (1, "")
    assert words in done.err
    assert f"the server has another version, {name} {value} instead of" in done.err
    assert hub.tokens_at_storage == []


def test_names_of_another_kind_say_nothing(hub, fetch):
    hub.stated = {"X-Linked-ETag": 'W/"its-own"', "X-Repo-Commit": "main"}
    assert fetch().code == 0


def test_a_file_of_a_gated_model_says_so(hub, fetch):
    hub.private, hub.gated = set(), {NAME}
    done = fetch()
    assert done.code == 1
    assert f"{NAME} is gated" in done.err
