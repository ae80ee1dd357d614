"""The shipped model on a Hub on loopback, and the program as someone runs it who fetches from there."""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest
from conftest import SAMPLES, flowers
from support.hub import Hub, client_environment, serving

from flowercli import bundle as bundles
from flowercli.bundle import Bundle
from flowercli.models import FOLDER

NAME = "me/five"
GRAPH = "model.int8.onnx"
ROSE = SAMPLES / "rose.jpg"
# What the Hub's client asks the environment for each time, not when it is first imported.
READ_EACH_TIME = {"HF_TOKEN"}


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
def program(hub, tmp_path, monkeypatch, run):
    """Run the program against the Hub with its own data directory; in this process, where the settings allow it."""
    from huggingface_hub import constants

    environment = client_environment(hub, tmp_path)
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    for name in ("FLOWERS_HOME", "HF_ENDPOINT", "HF_HOME", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    # As if it was imported now; the processes below import it with their own environment.
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))

    def call(*arguments, **more):
        if more.keys() - READ_EACH_TIME:
            return flowers(*arguments, env=environment | more)
        with monkeypatch.context() as patch:
            for name, value in more.items():
                patch.setenv(name, value)
            return run(*arguments)

    return call


def in_place(tmp_path):
    """Return what is where models are looked for: neither temporary folders nor locks."""
    models = tmp_path / "data" / "models"
    return sorted(str(path.relative_to(models)) for path in models.glob("[!.]*/[!.]*"))


def set_config(hub, change):
    path = hub.root / NAME / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
