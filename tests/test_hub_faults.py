"""What can keep a model at the Hub, each with its message: network, server, rights, and the disk here."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from conftest import ROOT, command
from hub import Fault, client_environment
from published import GRAPH, NAME, in_place

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
