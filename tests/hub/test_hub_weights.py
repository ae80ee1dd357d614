"""ImageNet weights from a Hub: fetched through timm's own loader, then taken from the cache, or a clear choice."""

from __future__ import annotations

import os

import pytest
from conftest import flowers
from support.hub import local_hub

from flowercli.bundle import Bundle

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

import safetensors.torch as safetensors
import timm
from timm.models import save_for_hf

NAME = "test_efficientnet.r160_in1k"
# The backbone stays as it came, so that the bundle shows whose weights they were.
TRAIN = (
    "train", f"model.name={NAME}", "model.image_size=96", "optim.freeze_epochs=1", "--epochs", 1, "--batch-size", 16,
    "num_workers=0", "loss=ce",
)  # fmt: skip


@pytest.fixture(scope="module")
def hub_root(tmp_path_factory):
    """Return a folder laid out like the Hub, with weights made here."""
    root = tmp_path_factory.mktemp("hub")
    torch.manual_seed(5)
    save_for_hf(timm.create_model(NAME, pretrained=False), root / "timm" / NAME, safe_serialization=True)
    return root


def environment(cache, endpoint, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {"HF_HOME": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"} | more


def test_weights_come_from_the_hub_and_then_from_its_cache(hub_root, dataset, tmp_path):
    served = safetensors.load_file(hub_root / "timm" / NAME / "model.safetensors")
    with local_hub(hub_root) as (endpoint, requests):
        online = environment(tmp_path / "cache", endpoint)
        done = flowers(*TRAIN, "--data", dataset, "--output", tmp_path / "online", env=online)
    assert done.code == 0, done.err
    assert {method for method, _, _ in requests} == {"HEAD", "GET"}
    assert any(path.endswith("/resolve/main/model.safetensors") for _, path, _ in requests)
    offline = environment(tmp_path / "cache", endpoint, HF_HUB_OFFLINE="1")
    again = flowers(*TRAIN, "--data", dataset, "--output", tmp_path / "offline", env=offline)
    assert again.code == 0, again.err
    unreachable = environment(tmp_path / "cache", endpoint)
    third = flowers(*TRAIN, "--data", dataset, "--output", tmp_path / "unreachable", env=unreachable)
    assert third.code == 0, third.err
    for result in (done, again, third):
        trained = safetensors.load_file(Bundle.load(type(tmp_path)(result.out.strip())).file("model.safetensors"))
        assert all(torch.equal(trained[name], served[name]) for name in trained if "classifier" not in name)


def test_no_network_and_no_copy_gives_a_choice(dataset, tmp_path):
    with local_hub(tmp_path) as (endpoint, _):
        pass  # Its port is closed again.
    done = flowers(*TRAIN, "--data", dataset, "--output", tmp_path / "runs", env=environment(tmp_path, endpoint))
    assert done.code == 1
    assert "Traceback" not in done.err
    for words in (f"weights of {NAME} cannot be had", "model.weights=PATH", "model.pretrained=false"):
        assert words in done.err
    assert not (tmp_path / "runs").exists()


def test_unknown_repository_is_told(dataset, tmp_path):
    with local_hub(tmp_path) as (endpoint, _):
        done = flowers(*TRAIN, "--data", dataset, "--output", tmp_path / "runs", env=environment(tmp_path, endpoint))
    assert done.code == 1
    assert f"weights of {NAME} cannot be had" in done.err
    assert "Traceback" not in done.err
