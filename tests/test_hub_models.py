"""Models from a Hub: pinned, checked, resumed, used without a network, and a message for each thing that goes wrong."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES, command, flowers
from hub import Fault, Hub, client_environment, serving

from flowercli import bundle as bundles
from flowercli.bundle import Bundle
from flowercli.models import FOLDER

NAME = "me/five"
GRAPH = "model.int8.onnx"
ROSE = SAMPLES / "rose.jpg"


@pytest.fixture
def hub(tmp_path):
    """Serve the shipped model as ``me/five``, with an fp32 graph and weights that nobody runs here."""
    folder = tmp_path / "hub" / NAME
    shutil.copytree(FOLDER / "flowers5", folder)
    for name in ("model.onnx", "model.safetensors"):
        (tmp_path / name).write_bytes(random.Random(name).randbytes(300_000))
    bundles.add_files(Bundle.load(folder), {name: tmp_path / name for name in ("model.onnx", "model.safetensors")})
    with serving(Hub(tmp_path / "hub", tokens={"hf_good": {"me"}})) as served:
        yield served
        served.released.set()


@pytest.fixture
def program(hub, tmp_path):
    """Run the program against the Hub, with a data directory of its own."""
    return lambda *arguments, **more: flowers(*arguments, env=client_environment(hub, tmp_path, **more))


def in_place(tmp_path):
    """Return what is where models are looked for: neither temporary folders nor locks."""
    models = tmp_path / "data" / "models"
    return sorted(str(path.relative_to(models)) for path in models.glob("[!.]*/[!.]*"))


def set_config(hub, change):
    path = hub.root / NAME / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_a_model_arrives_once_and_answers_by_name(hub, program, tmp_path):
    done = program("download", "model", NAME)
    folder = tmp_path / "data" / "models" / NAME
    assert (done.code, done.out) == (0, f"{folder}\n"), done.err
    assert "daisy, dandelion, rose" in done.err
    assert f"flowers classify PICTURE --model {NAME}" in done.err
    names = ["README.md", "config.json", GRAPH, "reference.npz", "split.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    Bundle.load(folder).verify()
    hub.requests.clear()
    again = json.loads(program("download", "model", NAME, "--json").out)
    assert hub.asked() == [f"/api/models/{NAME}"]
    hub.requests.clear()
    assert again["revision"] == hub.head(NAME)
    assert program("download", "model", f"{NAME}@{hub.head(NAME)}").code == 0
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert program("download", "model", NAME, **offline).code == 0
    assert json.loads(program("classify", ROSE, "-m", NAME, "--json", **offline).out)["predicted_class"] == "rose"
    assert hub.asked() == []
    listed = json.loads(program("models", "--json").out)["models"]
    assert [(entry["name"], entry["commit"]) for entry in listed] == [
        ("flowers5", None),
        ("garden18", None),
        (NAME, hub.head(NAME)),
    ]
    assert f"the Hub, {hub.head(NAME)[:7]}" in program("models").out
    kept = json.loads(program("download", "--list", "--json").out)["installed"]
    assert [(entry["kind"], entry["name"], entry["path"]) for entry in kept] == [("model", NAME, str(folder))]
    assert program("download", "--remove", NAME).code == 0
    assert in_place(tmp_path) == []


def test_a_revision_is_what_was_asked_for(hub, program, tmp_path):
    first = hub.head(NAME)
    set_config(hub, lambda config: config["flowers"].update(note="changed"))
    second = hub.head(NAME)
    assert json.loads(program("download", "model", f"{NAME}@{first}", "--json").out)["revision"] == first
    hub.requests.clear()
    assert json.loads(program("download", "model", NAME, "--json").out)["revision"] == second
    assert [
        path for path in hub.asked("/resolve/") if not path.endswith((".json", ".md"))
    ] == []  # The graph is the same.
    assert Bundle.load(tmp_path / "data" / "models" / NAME).section["note"] == "changed"
    assert program("classify", ROSE, "--model", f"{NAME}@{second}").code == 0
    other = program("classify", ROSE, "--model", f"{NAME}@{first}")
    assert other.code == 1
    assert f"flowers download model {NAME}@{first}" in other.err
    unknown = program("download", "model", f"{NAME}@nowhere")
    assert (unknown.code, unknown.out) == (1, "")
    assert f"{NAME} has no revision 'nowhere'" in unknown.err


def test_weights_come_when_asked_for(hub, program, tmp_path):
    assert "model.onnx, model.safetensors; --all" in program("download", "model", NAME).err
    bundle = Bundle.load(tmp_path / "data" / "models" / NAME)
    with pytest.raises(bundles.BundleError) as caught:
        bundle.file("model.safetensors")
    assert caught.value.hint == f"flowers download model {NAME}@{hub.head(NAME)} --all"
    hub.requests.clear()
    assert program("download", "model", NAME, "--all").code == 0
    assert [Path(path).name for path in hub.asked("model.")] == ["model.onnx", "model.safetensors"]
    whole = Bundle.load(bundle.path)
    whole.verify()
    assert whole.file("model.safetensors").stat().st_size == 300_000


def test_a_model_that_is_not_here_is_told(program, tmp_path):
    for name in ("me/six", "me/six@v2"):
        result = program("classify", ROSE, "--model", name)
        assert (result.code, result.out) == (1, "")
        assert f"flowers download model {name}" in result.err
    # A folder that looks like a repo id is still a folder.
    assert program("classify", ROSE, "--model", "flowercli/models/flowers5").code == 0
    assert not (tmp_path / "data").exists()


def test_cut_connections_are_resumed(hub, program):
    size = (hub.root / NAME / GRAPH).stat().st_size
    cuts = random.Random(4)
    hub.faults = [Fault(GRAPH, cut_after=cuts.randrange(1, size // 4)) for _ in range(6)]
    hub.faults += [
        Fault(f"/api/models/{NAME}$", status=503),
        Fault("split.json", status=502),
        Fault("README", cut_after=0),
    ]
    done = program("download", "model", NAME)
    assert done.code == 0, done.err
    assert "broke off" in done.err
    assert "Trying again in 0.5 s" in done.err
    ranges = [asked for _, path, asked in hub.requests if path.endswith(GRAPH)]
    assert len(ranges) == 7
    assert all(re.fullmatch(r"bytes=\d+-", asked) for asked in ranges[1:])
    # What was sent beyond the files themselves: one listing, one description.
    files = sum(path.stat().st_size for path in (hub.root / NAME).iterdir()) - 600_000
    assert hub.sent <= files * 1.05


def test_a_killed_download_goes_on_where_it_stopped(hub, program, tmp_path):
    size = (hub.root / NAME / GRAPH).stat().st_size
    hub.faults = [Fault(GRAPH, cut_after=size * 2 // 3, hold=True)]
    arguments = command("download", "model", NAME)
    with subprocess.Popen(arguments, env=client_environment(hub, tmp_path), cwd=ROOT) as process:
        partial = tmp_path / "data" / "models" / f".partial-me--five@{hub.head(NAME)}" / GRAPH
        deadline = time.monotonic() + 60
        while not partial.exists() or partial.stat().st_size < size * 2 // 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert in_place(tmp_path) == []
    assert json.loads(program("download", "--list", "--json").out)["installed"] == []
    hub.requests.clear()
    assert program("download", "model", NAME).code == 0
    assert [asked for _, path, asked in hub.requests if path.endswith(GRAPH)] == [f"bytes={size * 2 // 3}-"]
    Bundle.load(tmp_path / "data" / "models" / NAME).verify()
    assert list((tmp_path / "data" / "models").glob(".partial-*")) == []


def test_two_at_once_fetch_one_copy(hub, tmp_path):
    environment = client_environment(hub, tmp_path)
    pair = [
        subprocess.Popen(
            command("download", "model", NAME), env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in pair] == [f"{tmp_path / 'data' / 'models' / NAME}\n"] * 2
    assert len(hub.asked(GRAPH)) == 1


def test_wrong_bytes_are_refused_and_a_wrong_beginning_is_replaced(hub, program, tmp_path):
    hub.faults = [Fault(GRAPH, garble=True)]
    done = program("download", "model", NAME)
    assert (done.code, done.out) == (1, "")
    assert f"{GRAPH} of {NAME}@{hub.head(NAME)} is not what it should be" in done.err
    assert in_place(tmp_path) == []
    partial = tmp_path / "data" / "models" / f".partial-me--five@{hub.head(NAME)}" / GRAPH
    partial.write_bytes(b"\0" * 1000)
    assert program("download", "model", NAME).code == 0
    Bundle.load(tmp_path / "data" / "models" / NAME).verify()


def test_a_damaged_copy_is_fetched_again(hub, program, tmp_path):
    assert program("download", "model", NAME).code == 0
    graph = tmp_path / "data" / "models" / NAME / GRAPH
    graph.write_bytes(graph.read_bytes()[:-1])
    assert program("classify", ROSE, "--model", NAME).code == 1
    assert program("download", "model", NAME).code == 0
    assert program("classify", ROSE, "--model", NAME).code == 0
    assert hub.asked(GRAPH)[1:] == hub.asked(GRAPH)[:1]


@pytest.mark.parametrize(
    ("fault", "more", "words"),
    [
        (None, {"HF_TOKEN": "hf_old"}, ("does not accept this token", "export HF_TOKEN")),
        (Fault("", status=403, headers={"X-Error-Message": "no"}), {"HF_TOKEN": "hf_good"}, ("may not do that",)),
        (Fault("", status=404), {}, ("has nothing at", "HF_ENDPOINT")),
        (Fault("", status=429, headers={"Retry-After": "3600"}), {}, ("HTTP 429", "in 3600 s")),
        (Fault("", status=503, times=9), {}, ("out of order (HTTP 503)", "Trying again in 4 s")),
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
    done = program("download", "model", NAME, **more)
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
    assert "too many requests from here (HTTP 429): try again in 1 s. Trying again in 1 s." in done.err
    assert "does not answer in time" in done.err


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


def as_timm(config):
    del config["flowers"]


def as_newer(config):
    config["flowers"]["format_version"] = 99


def as_nothing(config):
    config.clear()


def with_name(name):
    def change(config):
        config["flowers"]["files"][name] = config["flowers"]["files"].pop(GRAPH)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (as_timm, ("a timm model, not a flowers bundle", f"flowers download backbone {NAME}")),
        (as_newer, ("bundle format 99", "pip install --upgrade")),
        (as_nothing, ("no model of flowers",)),
        (with_name("../../../evil"), ("no plain file name",)),
        (with_name(".."), ("cannot be right", "Nothing was fetched")),
    ],
)
def test_what_is_no_bundle_is_refused(hub, program, tmp_path, change, words):
    set_config(hub, change)
    done = program("download", "model", NAME)
    assert (done.code, done.out) == (1, "")
    for word in words:
        assert word in done.err
    assert hub.asked("model.") == []
    assert in_place(tmp_path) == []


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
        ("-t tmpfs -o size=1m none", ("MB are free at", "FLOWERS_HOME=DIR")),
        ("-t tmpfs -o ro none", ("Read-only file system", "not read-only")),
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


@pytest.mark.parametrize("text", ["five", "me/five@", "me/fi ve", "https://huggingface.co/me/five"])
def test_what_is_no_repo_id_is_a_usage_mistake(run, text):
    assert run("download", "model", text).code == 2
    assert run("publish", "flowers5", text).code == 2
