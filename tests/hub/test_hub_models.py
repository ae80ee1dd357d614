"""Models from a Hub: pinned, checked, used without a network; what is none is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT
from support.published import GRAPH, NAME, ROSE, in_place, set_config

from flowercli import bundle as bundles
from flowercli.bundle import Bundle

pytestmark = pytest.mark.network


def test_a_model_arrives_once_and_answers_by_name(hub, program, tmp_path):
    done = program("download", "model", NAME)
    folder = tmp_path / "data" / "models" / NAME
    assert (done.code, done.out) == (0, f"{folder}\n"), done.err
    assert "daisy, dandelion, rose" in done.err
    assert f"flowers classify PICTURE --model {NAME}" in done.err
    names = ["README.md", "config.json", "embeddings.npz", GRAPH, "reference.npz", "split.json"]
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
        ("garden", None),
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
    assert program("classify", ROSE, "--model", ROOT / "flowercli/models/flowers5").code == 0
    assert not (tmp_path / "data").exists()


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
        (with_name(".."), ("no plain file name",)),
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


@pytest.mark.parametrize("text", ["five", "me/five@", "me/fi ve", "https://huggingface.co/me/five"])
def test_what_is_no_repo_id_is_a_usage_mistake(run, text):
    assert run("download", "model", text).code == 2
    assert run("publish", "flowers5", text).code == 2
