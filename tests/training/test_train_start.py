"""What a run of ``flowers train`` starts from: weights of another run, some of them frozen, and teachers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from flowercli.bundle import Bundle
from flowercli.data.places import manifest_path

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

import safetensors.torch as safetensors

from flowercli.training.model import load_bundle_model


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


def test_classes_of_the_same_name_go_on_from_what_their_bundle_learnt(trained, own_dataset, run, tmp_path):
    (own_dataset / "blue").rename(own_dataset / "violet")
    result = run(
        "train", "--data", own_dataset, "model=tiny", f"model.weights={trained}", "--lr", 1e-9, "loss=ce",
        "--epochs", 1, "--batch-size", 16, "num_workers=0", "ema_decay=0", "--output", tmp_path / "runs",
    )  # fmt: skip
    assert result.code == 0, result.err
    new = Bundle.load(next((tmp_path / "runs").iterdir()))
    assert new.class_names == ["green", "reds", "violet"]
    before, after = (safetensors.load_file(folder / "model.safetensors") for folder in (trained, new.path))
    known = before["classifier.weight"]  # Of blue, green, reds.
    assert torch.allclose(after["classifier.weight"][:2], known[1:], atol=1e-6)
    assert after["classifier.weight"][2].abs().max() < known.abs().max()


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


@pytest.mark.skipif(sys.platform != "linux", reason="asks GNU OpenMP")
@pytest.mark.parametrize("chosen", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}], ids=["unset", "user"])
@pytest.mark.parametrize("module", ["training.run", "export.into_bundle"])
def test_threads_of_torch_sleep_while_they_wait_unless_the_user_says_otherwise(module, chosen):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true", **chosen}
    line = [sys.executable, "-c", f"import flowercli.{module}"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    expected = chosen.get("OMP_WAIT_POLICY", "PASSIVE")
    # Each copy of the library that is loaded says what it goes by; torch's is the first.
    said = [text for text in done.stderr.splitlines() if "OMP_WAIT_POLICY" in text]
    assert said
    assert all(expected in text for text in said)
