"""Once with a network, then without any: backbones and models that were downloaded are all that the commands need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Run, command, flowers
from support.hub import Fault, Hub, client_environment, serving

from flowercli.bundle import Bundle

pytestmark = pytest.mark.network

TIMM = "test_efficientnet.r160_in1k"
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path):
    """Serve a backbone whose weights are no weights; nobody loads them."""
    folder = tmp_path / "hub" / "timm" / TIMM
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architecture": "test_efficientnet", "pretrained_cfg": {}}))
    (folder / WEIGHTS).write_bytes(os.urandom(500_000))
    with serving(Hub(tmp_path / "hub")) as served:
        yield served


def test_a_backbone_arrives_once(hub, program, tmp_path):
    hub.faults = [Fault(WEIGHTS, cut_after=200_000)]
    done = program("download", "backbone", TIMM)
    folder = tmp_path / "data" / "backbones" / "timm" / TIMM
    assert (done.code, done.out) == (0, f"{folder}\n"), done.err
    assert f"model.name={TIMM}" in done.err
    assert [asked for _, path, asked in hub.requests if path.endswith(WEIGHTS)] == [None, "bytes=200000-"]
    assert (folder / WEIGHTS).read_bytes() == (hub.root / "timm" / TIMM / WEIGHTS).read_bytes()
    hub.requests.clear()
    assert json.loads(program("download", "backbone", f"timm/{TIMM}", "--json").out)["revision"] == hub.head(
        f"timm/{TIMM}"
    )
    assert hub.asked("/resolve/") == []
    assert program("download", "backbone", TIMM, HF_HUB_OFFLINE="1").out == done.out
    listed = json.loads(program("download", "--list", "--json").out)["installed"]
    assert [(entry["kind"], entry["name"]) for entry in listed] == [("backbone", f"timm/{TIMM}")]


def test_what_is_no_backbone_is_told(hub, program):
    untagged = program("download", "backbone", "resnet50")
    assert (untagged.code, untagged.out) == (2, "")
    assert "it has no tag" in untagged.err
    missing = program("download", "backbone", "resnet50.none")
    assert missing.code == 1
    assert f"There is no timm/resnet50.none at {hub.endpoint}" in missing.err
    (hub.root / "timm" / TIMM / WEIGHTS).rename(hub.root / "timm" / TIMM / "pytorch_model.bin")
    pickled = program("download", "backbone", TIMM)
    assert pickled.code == 1
    assert f"it has no {WEIGHTS}" in pickled.err
    (hub.root / "timm" / TIMM / "pytorch_model.bin").rename(hub.root / "timm" / TIMM / WEIGHTS)
    hub.faults = [Fault(WEIGHTS, garble=True)]
    garbled = program("download", "backbone", TIMM)
    assert garbled.code == 1
    assert f"{WEIGHTS} of timm/{TIMM}@" in garbled.err
    assert json.loads(program("download", "--list", "--json").out)["installed"] == []


def without_network(arguments, environment):
    """Run a program in a network namespace of its own, which has no way out, not even to this machine."""
    done = subprocess.run(
        ["unshare", "-rn", *arguments],
        capture_output=True, text=True, timeout=300, check=False, cwd=ROOT, env=environment,
    )  # fmt: skip
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_all_commands_work_after_one_session_online(trained, dataset, tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    import timm
    from timm.models import save_for_hf

    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], check=False).returncode:
        pytest.skip("needs unshare and the right to a network namespace of its own")
    root = tmp_path / "hub"
    save_for_hf(timm.create_model(TIMM, pretrained=False), root / "timm" / TIMM, safe_serialization=True)
    shutil.copytree(trained, root / "me" / "toy")
    with serving(Hub(root)) as hub:
        environment = client_environment(hub, tmp_path)
        for arguments in (("model", "me/toy", "--all"), ("backbone", TIMM)):
            done = flowers("download", *arguments, env=environment)
            assert done.code == 0, done.err
        # The Hub is still there; its port is out of reach of what runs without a network.
        asked = len(hub.requests)
        reach = f"import urllib.request as u; u.urlopen('{hub.endpoint}/api/models/me/toy')"
        assert "unreachable" in without_network([sys.executable, "-c", reach], environment).err

        def offline(*arguments):
            result = without_network(command(*arguments), environment)
            assert result.code == 0, result.err
            return result.out

        photo = next((dataset / "blue").glob("*.jpg"))
        assert json.loads(offline("classify", photo, "--model", "me/toy", "--json"))["predicted_class"] == "blue"
        measured = json.loads(offline("eval", "me/toy", "--data", dataset, "--json"))
        assert set(measured["variants"]) == {"torch", "onnx", "int8"}
        exported = offline("export", "me/toy", "--onnx", "--data", dataset, "--json")
        assert json.loads(exported)["exports"][0]["file"] == "model.onnx"
        small = ("model.image_size=96", "optim.freeze_epochs=1", "--epochs", 1, "--batch-size", 16, "num_workers=0")
        more = ("--data", dataset, "--output", tmp_path / "runs", f"model.name={TIMM}", "loss=ce")
        bundle = Bundle.load(Path(offline("train", *more, *small).strip()))
        assert len(hub.requests) == asked
    import safetensors.torch as safetensors

    start = safetensors.load_file(root / "timm" / TIMM / WEIGHTS)
    ended = safetensors.load_file(bundle.file(WEIGHTS))
    # The backbone stayed frozen, so the bundle shows whose weights it began with.
    assert all((ended[name] == start[name]).all() for name in ended if "classifier" not in name)
