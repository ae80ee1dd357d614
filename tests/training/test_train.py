"""``flowers train``: a real run, and a whole bundle or none."""

from __future__ import annotations

import copy
import json

import pytest

from flowercli.bundle import Bundle
from flowercli.data.manifest import Manifest
from flowercli.data.places import manifest_path

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
timm = pytest.importorskip("timm", reason="needs the extra 'train'")

from flowercli.training.convolutions import InFp32, speed_up_depthwise
from flowercli.training.model import load_bundle_model


def test_bundle_is_whole_and_describes_itself(trained, dataset):
    bundle = Bundle.load(trained)
    bundle.verify()
    manifest = Manifest.read(manifest_path(dataset))
    provenance = bundle.section["provenance"]
    assert bundle.class_names == ["blue", "green", "reds"]
    assert provenance["dataset_sha256"] == manifest.dataset_sha256
    assert provenance["manifest_sha256"] == manifest.sha256
    assert provenance["config"]["model"]["name"] == "test_efficientnet"
    assert bundle.section["metrics"]["val"]["torch"]["accuracy"]["value"] > 0.8
    assert set(bundle.section["files"]) >= {"model.safetensors", "split.json", "README.md", "model.onnx"}
    card = (trained / "README.md").read_text()
    assert "| validation | torch |" in card
    assert not list(trained.parent.glob(".*"))


def test_timm_loads_the_bundle(trained):
    model = timm.create_model(f"local-dir:{trained}", pretrained=True).eval()
    assert model.num_classes == 3
    assert list(model.pretrained_cfg["input_size"]) == [3, 96, 96]
    ours = load_bundle_model(Bundle.load(trained))
    pixels = torch.randint(0, 256, (2, 3, 96, 96))
    mean = torch.tensor(model.pretrained_cfg["mean"]).view(1, 3, 1, 1)
    std = torch.tensor(model.pretrained_cfg["std"]).view(1, 3, 1, 1)
    with torch.inference_mode():
        assert torch.allclose(ours(pixels)[0], model((pixels / 255 - mean) / std), atol=1e-4)


def test_loss_falls_with_every_loss(dataset, tmp_path, run):
    for loss in (
        "ce loss.class_weights=balanced",
        "supcon data.sampler=balanced",
        "contrastive micro_batch=5",
        "triplet",
    ):
        name, *more = loss.split()
        result = run(
            "train", "--data", dataset, "model=tiny", f"loss={name}", *more, "augment=strong", "--epochs", 3,
            "--batch-size", 16, "num_workers=0", "ema_decay=0.9", "optim=adamw", "optim.lr=2e-3", "--output", tmp_path,
        )  # fmt: skip
        assert result.code == 0, result.err
        losses = [float(line.split("loss ")[1].split()[0]) for line in result.err.splitlines() if "  loss " in line]
        assert len(losses) == 3
        assert losses[-1] < losses[0]


def test_early_stopping(dataset, tmp_path, run):
    result = run(
        "train", "--data", dataset, "model=tiny", "loss=ce", "optim.lr=1e-9", "--epochs", 9, "validate_every=1",
        "patience=2", "--batch-size", 16, "num_workers=0", "augment=none", "--output", tmp_path,
    )  # fmt: skip
    assert result.code == 0, result.err
    provenance = Bundle.load(next(tmp_path.iterdir())).section["provenance"]
    assert provenance["epochs_trained"] < 9


def test_same_seed_same_weights(dataset, tmp_path_factory, run):
    def weights(seed):
        folder = tmp_path_factory.mktemp("seeded")
        options = ("--epochs", 1, "--batch-size", 16, "num_workers=0", "--seed", seed, "--output", folder)
        result = run("train", "--data", dataset, "model=tiny", *options)
        assert result.code == 0, result.err
        return Bundle.load(next(folder.iterdir())).section["files"]["model.safetensors"]["sha256"]

    assert weights(1) == weights(1) != weights(2)


def test_trains_without_a_manifest_and_makes_one(own_dataset, tmp_path, run):
    assert not manifest_path(own_dataset).exists()
    options = ("--epochs", 1, "--batch-size", 16, "num_workers=0", "--output", tmp_path / "runs")
    result = run("train", "--data", own_dataset, "model=tiny", *options)
    assert result.code == 0, result.err
    assert manifest_path(own_dataset).is_file()
    assert result.out.strip() == str(next((tmp_path / "runs").iterdir()))


def test_print_config(run):
    result = run("train", "--print-config", "--epochs", 7, "optim=adamw")
    assert result.code == 0
    assert "epochs: 7" in result.out
    assert "name: adamw" in result.out


@pytest.mark.slow
@pytest.mark.photos
def test_learns_real_flowers(photos, tmp_path, run):
    for folder in photos.iterdir():
        (tmp_path / "photos" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:60]:
            (tmp_path / "photos" / folder.name / path.name).write_bytes(path.read_bytes())
    options = ("model.image_size=128", "--epochs", 8, "optim.lr=2e-3", "--output", tmp_path / "runs")
    result = run("train", "--data", tmp_path / "photos", "model=tiny", *options)
    assert result.code == 0, result.err
    bundle = result.out.strip()
    evaluation = json.loads(run("eval", bundle, "--split", "train", "--json").out)
    assert evaluation["variants"]["torch"]["accuracy"]["low"] > 0.3


def test_depthwise_convolutions_in_fp32_are_the_same_but_for_rounding():
    torch.manual_seed(0)
    plain = timm.create_model("tf_efficientnet_lite0", num_classes=3).train()
    fast = copy.deepcopy(plain)
    speed_up_depthwise(fast)
    changed = [module for module in fast.modules() if isinstance(module, InFp32)]
    assert len(changed) == 11
    assert fast.state_dict().keys() == plain.state_dict().keys()
    pixels = torch.randn(4, 3, 64, 64)
    assert torch.equal(fast(pixels), plain(pixels))
    copied = copy.deepcopy(fast)
    changed[0].weight.data.zero_()
    assert not torch.equal(copied(pixels), fast(pixels))
    # One of them alone, because a network that is not trained makes much of any rounding.
    block = torch.randn(2, copied.blocks[2][0].conv_dw.in_channels, 16, 16)
    exact = plain.blocks[2][0].conv_dw(block)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = [network.blocks[2][0].conv_dw(block.bfloat16()) for network in (plain, copied)]
    assert [result.dtype for result in results] == [torch.bfloat16] * 2
    errors = [(result - exact).abs().max().item() for result in results]
    assert errors[1] <= errors[0] < 0.1
