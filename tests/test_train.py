"""``flowers train``: a real run, a whole bundle or none, and mistakes told before anything starts."""

from __future__ import annotations

import copy
import json
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import command, flowers

from flowercli.bundle import Bundle
from flowercli.data.manifest import Manifest, manifest_path
from flowercli.inference.calibration import fit_temperature, rejection_threshold, softmax

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
timm = pytest.importorskip("timm", reason="needs the extra 'train'")

import safetensors.torch as safetensors
from sklearn.utils.class_weight import compute_class_weight

from flowercli.training.depthwise import InFp32, speed_up_depthwise
from flowercli.training.losses import balanced_weights
from flowercli.training.model import load_bundle_model
from flowercli.training.run_folder import SUFFIX
from flowercli.training.sampler import EpochSampler, balanced, square_root
from flowercli.training.schema import CHOICES


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
    ours = __import__("flowercli.training.model", fromlist=["x"]).load_bundle_model(Bundle.load(trained))
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


def test_distillation_follows_the_teacher(trained, dataset, tmp_path, run):
    result = run(
        "train", "--data", dataset, "model=tiny", "loss=ce", "distill=bundle", f"distill.teacher=[{trained}]",
        "--epochs", 2, "--batch-size", 16, "num_workers=0", "--output", tmp_path,
    )  # fmt: skip
    assert result.code == 0, result.err
    config = Bundle.load(next(tmp_path.iterdir())).section["provenance"]["config"]
    assert config["distill"]["teacher"] == [str(trained)]


def test_teacher_may_know_more_classes_but_not_fewer(trained, own_dataset, tmp_path, run):
    shutil.rmtree(own_dataset / "blue")
    arguments = ("train", "--data", own_dataset, "model=tiny", "loss=ce", f"distill.teacher=[{trained}]")
    more = ("--epochs", 1, "--batch-size", 16, "num_workers=0", "--output", tmp_path / "runs", "distill=bundle")
    result = run(*arguments, *more)
    assert result.code == 0, result.err
    assert Bundle.load(next((tmp_path / "runs").iterdir())).class_names == ["green", "reds"]
    (own_dataset / "green").rename(own_dataset / "violet")
    manifest_path(own_dataset).unlink()
    result = run(*arguments, *more)
    assert result.code == 1
    assert "does not know violet; it knows blue, green, reds" in result.err


def test_classes_that_are_kept_keep_their_logits(trained):
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    whole, part = (load_bundle_model(Bundle.load(trained)) for _ in range(2))
    part.keep_classes([2, 0])
    assert torch.equal(part(pixels)[0], whole(pixels)[0][:, [2, 0]])
    assert part.num_classes == 2


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


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("optim.lrr=1",), 2, "no key 'optim.lrr'. Did you mean 'optim.lr'?"),
        (("epochz=1",), 2, "no key 'epochz'. Did you mean 'epochs'?"),
        (("epochs=many",), 2, "epochs"),
        (("epochs=0", "optim.lr=-1"), 2, "optim.lr"),
        (("optim.lr=nan",), 2, "optim.lr"),
        (("model=rexnet_1500",), 2, "rexnet_150"),
        (("optim=",), 2, "optim"),
        (("=",), 2, "configuration is wrong"),
        (("device=tpu",), 2, "choose one of auto, cpu, cuda, mps"),
        (("--model", "resnet_5000"), 1, "timm has no model 'resnet_5000'"),
        (("model.weights=/none",), 1, "no weights at /none"),
        ((), 1, "cannot be had"),
        (("model=tiny", "--batch-size", 5000), 1, "fewer than one batch"),
        (("model=tiny", "distill.teacher=[/none]"), 1, "no model bundle at /none"),
        (("--data", "/none"), 1, "not a folder"),
    ],
)
def test_mistakes_are_told_at_once_and_write_nothing(dataset, tmp_path, run, arguments, code, words):
    data = () if "--data" in arguments else ("--data", dataset)
    result = run("train", *data, "--output", tmp_path / "runs", "num_workers=0", *arguments)
    assert result.code == code, result.err
    assert words in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_weights_of_another_architecture_are_refused(trained, dataset, run, tmp_path):
    result = run("train", "--data", dataset, "--output", tmp_path, f"model.weights={trained}")
    assert result.code == 1
    assert "are of test_efficientnet, not of rexnet_150" in result.err


def test_fine_tunes_from_a_folder_and_a_file(trained, dataset, run, tmp_path):
    for number, weights in enumerate((trained, trained / "model.safetensors")):
        output = tmp_path / str(number)
        options = ("--epochs", 1, "--batch-size", 16, "num_workers=0", "--output", output)
        result = run("train", "--data", dataset, "model=tiny", f"model.weights={weights}", *options)
        assert result.code == 0, result.err
        first = Bundle.load(next(output.iterdir())).section["metrics"]["val"]["torch"]["accuracy"]["value"]
        assert first > 0.8


def test_print_config(run):
    result = run("train", "--print-config", "--epochs", 7, "optim=adamw")
    assert result.code == 0
    assert "epochs: 7" in result.out
    assert "name: adamw" in result.out


@pytest.mark.slow
def test_killed_at_any_moment_leaves_no_broken_bundle(dataset, tmp_path):
    arguments = ("train", "--data", dataset, "model=tiny", "--epochs", 1, "--batch-size", 16, "num_workers=0")
    started = time.monotonic()
    assert flowers(*arguments, "--output", tmp_path / "whole").code == 0
    duration = time.monotonic() - started
    # Half of the kills in the last tenth, where the files are written.
    moments = [random.uniform(0.3, 1) * duration for _ in range(2)] + [
        random.uniform(0.9, 1) * duration for _ in range(3)
    ]
    for moment in moments:
        process = subprocess.Popen(
            command(*arguments, "--output", tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in (tmp_path / "killed").glob("*"):
            if not path.name.startswith(".") and not path.name.endswith(SUFFIX):
                Bundle.load(path).verify()


def test_every_mistake_is_told_at_once(dataset, run):
    result = run("train", "--data", dataset, "optim.lrr=1", "epochs=many", "batch_size=1", "augmnt=strong")
    assert result.code == 2
    for words in ("'optim.lrr'. Did you mean 'optim.lr'?", "epochs", "batch_size=1: at least 2", "augmnt"):
        assert words in result.err


def test_loss_that_is_no_number_ends_the_run(dataset, run, tmp_path):
    result = run(
        "train", "--data", dataset, "model=tiny", "loss=ce", "optim.name=sgd", "optim.lr=10", "optim.clip_grad_norm=0",
        "optim.warmup_epochs=0", "optim.head_lr_scale=1e30", "--epochs", 3, "--batch-size", 16, "num_workers=0",
        "precision=fp32", "--output", tmp_path,
    )  # fmt: skip
    assert result.code == 1
    assert "The loss is " in result.err
    assert "lower learning rate" in result.err


@pytest.fixture
def weights_after(dataset, run, tmp_path, trained):
    """Train an epoch from a trained bundle; names of the weights that are as they were, and of those that are not."""

    def train(override):
        result = run(
            "train", "--data", dataset, "model=tiny", f"model.weights={trained}", override, "--epochs", 1,
            "--batch-size", 16, "num_workers=0", "loss=ce", "--output", tmp_path,
        )  # fmt: skip
        assert result.code == 0, result.err
        before, after = (
            safetensors.load_file(folder / "model.safetensors") for folder in (trained, next(tmp_path.iterdir()))
        )
        same = {name for name in before if torch.equal(before[name], after[name])}
        return same, before.keys() - same

    return train


def test_frozen_backbone_learns_the_head_only(weights_after):
    _, changed = weights_after("optim.freeze_epochs=1")
    assert changed == {"classifier.weight", "classifier.bias"}


def test_frozen_stages_keep_weights_and_statistics(weights_after):
    same, changed = weights_after("optim.freeze_stages=2")
    assert same == {name for name in same | changed if name.startswith(("conv_stem", "bn1", "blocks.0"))}


def test_class_weights_are_those_of_scikit_learn():
    targets = np.repeat([0, 1, 2], [5, 20, 75])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    assert balanced_weights([5, 20, 75]).tolist() == pytest.approx(expected.tolist())


def test_balanced_draws_give_every_class_its_turn():
    targets = np.repeat([0, 1, 2], [4, 20, 76])
    order = balanced(targets, np.random.default_rng(0))
    assert len(order) == 100
    for start in range(0, 99, 3):
        assert sorted(targets[order[start : start + 3]]) == [0, 1, 2]
    # A class starts over only when all of it was drawn.
    assert {order.count(index) for index in range(4)} <= {8, 9}


def test_square_root_draws_are_between_the_others():
    targets = np.repeat([0, 1], [1000, 9000])
    order = square_root(targets, np.random.default_rng(0))
    assert len(order) == 10_000
    # A quarter and three quarters, as 1 to 3, not 1 to 9 or 1 to 1.
    assert (targets[order] == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert max(order.count(index) for index in range(20)) <= 3


@pytest.mark.parametrize("order", CHOICES["data.sampler"])
def test_every_order_that_can_be_chosen_draws_an_epoch(order):
    assert len(list(EpochSampler([0, 1, 1, 1] * 10, 8, 7, order))) == 40


def test_sampler_goes_on_in_the_middle_of_an_epoch():
    sampler = EpochSampler([0, 1] * 25, 8, 7, "shuffle")
    whole = list(sampler)
    assert len(whole) == 48
    assert len({draw.photo for draw in whole}) == 48
    sampler.set_position(1, 2)
    assert list(sampler) == whole[16:]
    sampler.set_position(2)
    assert [draw.photo for draw in sampler] != [draw.photo for draw in whole]
    assert not {draw.seed for draw in sampler} & {draw.seed for draw in whole}


def test_average_of_two_runs_is_a_bundle_of_its_own(trained, dataset, tmp_path, run):
    other = run(
        "train", "--data", dataset, "model=tiny", f"model.weights={trained}", "loss=ce", "--epochs", 1, "--seed", 3,
        "--batch-size", 16, "num_workers=0", "--output", tmp_path,
    ).out.strip()  # fmt: skip
    result = run("average", trained, other, "--output", tmp_path / "mean")
    assert result.code == 0, result.err
    bundle = Bundle.load(tmp_path / "mean")
    bundle.verify()
    states = [safetensors.load_file(f"{path}/model.safetensors") for path in (trained, other, tmp_path / "mean")]
    name = "conv_stem.weight"
    assert torch.allclose(states[2][name], (states[0][name] + states[1][name]) / 2)
    assert len(bundle.section["provenance"]["averaged"]) == 2
    assert bundle.section["metrics"]["val"]["torch"]["accuracy"]["value"] > 0.8
    assert "mean of the weights" in (tmp_path / "mean" / "README.md").read_text()
    assert run("average", trained, other, "--output", tmp_path / "mean").code == 2
    assert run("average", trained, "--output", tmp_path / "new").code == 2


def test_temperature_calibrates():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 5))
    cumulative = softmax(logits).cumsum(axis=1)
    targets = (generator.random((4000, 1)) > cumulative).sum(axis=1).clip(0, 4)
    assert fit_temperature(logits, targets) == pytest.approx(1, abs=0.08)
    assert fit_temperature(3 * logits, targets) == pytest.approx(3, abs=0.25)


def test_threshold_lets_the_share_through():
    generator = np.random.default_rng(0)
    probabilities = softmax(generator.normal(0, 3, (1000, 3)))
    targets = probabilities.argmax(axis=1)
    threshold = rejection_threshold(probabilities, targets, 0.9)
    assert (probabilities.max(axis=1) >= threshold).mean() == pytest.approx(0.9, abs=0.01)


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
