"""What can keep a model at the Hub, each with its message: network, server, rights, and the disk here."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess

import pytest
from conftest import ROOT, command
from support.hub import Fault, client_environment
from support.published import GRAPH, NAME, in_place
from support.transfers import Listener, raw

from flowercli.errors import HubError
from flowercli.hub.repo_id import RepoId
from flowercli.hub.snapshot import look_up
from flowercli.transfer.contract import Patience

pytestmark = pytest.mark.network


@pytest.mark.parametrize(
    ("fault", "more", "words"),
    [
        (None, {"HF_TOKEN": "hf_old"}, ("does not accept this token", "export HF_TOKEN")),
        (Fault("", status=403, headers={"X-Error-Message": "no"}), {"HF_TOKEN": "hf_good"}, ("may not do that",)),
        (Fault("", status=404), {}, ("has nothing at", "HF_ENDPOINT")),
        (Fault("", status=429, headers={"Retry-After": "3600"}), {}, ("HTTP 429", "in 3600 s")),
        (Fault("", status=503, times=9), {}, ("out of order (HTTP 503)", "Trying again in")),
        (Fault("", status=200, body=b"<html>Log in"), {}, ("does not answer like a Hub",)),
        (Fault("", status=418), {}, ("refuses (HTTP 418)",)),
        (None, {"HF_HUB_OFFLINE": "1"}, ("HF_HUB_OFFLINE is set", "flowers download --list")),
        (None, {"HF_ENDPOINT": "http://127.0.0.1:9"}, ("127.0.0.1:9 refuses connections",)),
        (None, {"HF_ENDPOINT": "http://hub.invalid"}, ("hub.invalid is not known here", "Is there a network?")),
        (None, {"HF_ENDPOINT": "hub.local"}, ("HF_ENDPOINT is 'hub.local'", "http://")),
        (None, {"HTTP_PROXY": "http://127.0.0.1:9"}, ("refuses connections", "HTTPS_PROXY")),
    ],
    ids=lambda value: value[0].replace(" ", "-") if isinstance(value, tuple) else "",
)  # fmt: skip
def test_each_fault_has_its_message(hub, program, tmp_path, fault, more, words):
    hub.faults = [fault] if fault else []
    done = program("download", "model", NAME, "--retries", 2, **more)
    assert (done.code, done.out) == (1, ""), done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err
    assert in_place(tmp_path) == []


def described(sha="a" * 40, **file):
    """Return what a Hub says of a repository with one file."""
    files = [{"rfilename": "config.json", "size": 5} | file]
    return json.dumps({"id": NAME, "sha": sha, "private": False, "siblings": files}).encode()


NO_COMMITS = ("../../evil", "..", "", 5, "a\0b", "\ud800", "a" * 5000)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        *((described(sha), "does not say which commit") for sha in NO_COMMITS),
        (described(size=-5), "cannot be right"),
        (described(size="12"), "cannot be right"),
        (described(size=1.5), "cannot be right"),
        (described(size=10**400), "cannot be right"),
        (described(rfilename=5), "cannot be right"),
        (described(lfs={"sha256": 7, "size": 1, "pointerSize": 1}), "cannot be right"),
        (described(lfs={"sha256": "a" * 63, "size": 1, "pointerSize": 1}), "cannot be right"),
        (described(size=3 * 10**9), "config.json of me/five has 2861 MiB, and at most 64 MiB are read."),
        (b" " * (33 * 2**20), "more than 32 MiB about a repository"),
    ],
    ids=lambda value: value[:60].decode() if isinstance(value, bytes) else "",
)  # fmt: skip
def test_what_no_hub_says_is_told_before_anything_is_fetched(hub, program, tmp_path, body, words):
    hub.faults = [Fault("/api/models", status=200, body=body)]
    done = program("download", "model", NAME, "--retries", 0)
    assert (done.code, done.out) == (1, ""), done.err
    assert "Traceback" not in done.err
    assert words in done.err
    assert hub.asked("/resolve/") == []
    assert in_place(tmp_path) == []


def test_an_answer_that_is_packed_is_not_unpacked(hub, program):
    body = gzip.compress(bytes(2**26))
    hub.faults = [Fault("/api/models", status=200, body=body, headers={"Content-Encoding": "gzip"})]
    done = program("download", "model", NAME, "--retries", 0)
    assert done.code == 1
    assert "packed what was asked for plain" in done.err


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_hub_that_drips_is_left(head, monkeypatch):
    import huggingface_hub

    with raw(head, b" ", 0.05) as (url, _):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url.removesuffix("/file"))
        with pytest.raises(HubError, match="answers too slowly"):
            look_up(RepoId(NAME, None), Listener(), Patience(retries=0, timeout=0.3, slow=0.4))


def test_a_server_without_tls_is_told(hub, program):
    done = program("download", "model", NAME, HF_ENDPOINT=hub.endpoint.replace("http:", "https:"))
    assert done.code == 1
    assert "There is no secure connection to" in done.err
    assert "SSL_CERT_FILE" in done.err


def test_a_proxy_that_refuses_is_told(hub, program):
    proxy = hub.endpoint.removeprefix("http://")
    done = program("download", "model", NAME, HF_ENDPOINT="https://hub.invalid", HTTPS_PROXY=f"http://{proxy}")
    assert done.code == 1
    assert "The proxy does not lead to hub.invalid" in done.err


def test_a_busy_or_silent_hub_is_waited_for(hub, program):
    hub.faults = [Fault("/api/", status=429, headers={"Retry-After": "1"}), Fault(GRAPH, silent=1.5)]
    done = program("download", "model", NAME, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert done.code == 0, done.err
    assert "too many requests from here (HTTP 429): try again in 1 s. Trying again in 1.0 s." in done.err
    assert "127.0.0.1 does not answer" in done.err


def test_private_and_gated_models(hub, program):
    hub.private, hub.gated = {NAME}, set()
    refused = program("download", "model", NAME)
    assert refused.code == 1
    assert f"There is no {NAME} at {hub.endpoint}, or it is private." in refused.err
    assert program("download", "model", NAME, HF_TOKEN="hf_good").code == 0
    assert program("download", "model", "me/none", HF_TOKEN="hf_good").err.count("this token may not see it") == 1
    program("download", "--remove", NAME)
    hub.private, hub.gated = set(), {NAME}
    gated = program("download", "model", NAME)
    assert gated.code == 1
    assert f"{NAME} is gated" in gated.err
    assert f"Accept its conditions at {hub.endpoint}/{NAME}" in gated.err


def mounted(options, arguments, tmp_path):
    """Run the program with a file system of its own as data directory, where this machine lets us mount one."""
    data = tmp_path / "data"
    data.mkdir()
    inside = f'mount {options} {data} && exec "$@"'
    wrapped = ["unshare", "-rm", "sh", "-c", inside, "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*wrapped, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs unshare and the right to mount in a namespace of its own")
    return [*wrapped, *command(*arguments)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-t tmpfs -o size=1m none", ("MB are needed", "FLOWERS_HOME=DIR")),
        ("-t tmpfs -o ro none", ("is read-only", "FLOWERS_HOME=DIR")),
    ],
)
def test_a_full_or_read_only_disk(hub, tmp_path, options, words):
    arguments = mounted(options, ("download", "model", NAME), tmp_path)
    environment = client_environment(hub, tmp_path)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
