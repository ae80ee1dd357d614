"""Training from shards: bit for bit the run on the files that were packed, and all that follows it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flowercli.data.manifest import Manifest

pytest.importorskip("torch", reason="needs the extra 'train'")

OPTIONS = ("model=tiny", "--epochs", 2, "--batch-size", 16, "validate_every=1", "--seed", 7)


@pytest.mark.slow
def test_a_run_on_shards_is_the_run_on_the_files(own_dataset, tmp_path, run):
    packed = tmp_path / "packed"
    assert run("split", own_dataset).code == 0
    assert run("pack", own_dataset, "--output", packed, "--size", "30KB").code == 0
    plain = run("train", "--data", own_dataset, *OPTIONS, "num_workers=0", "--output", tmp_path / "plain")
    assert plain.code == 0, plain.err
    files = Path(plain.out.strip())
    shutil.rmtree(own_dataset)  # Only the shards are left.
    done = run("train", f"data.shards={packed}", *OPTIONS, "num_workers=2", "--output", tmp_path / "sharded")
    assert done.code == 0, done.err
    shards = Path(done.out.strip())
    assert (shards / "model.safetensors").read_bytes() == (files / "model.safetensors").read_bytes()
    assert (shards / "reference.npz").read_bytes() == (files / "reference.npz").read_bytes()
    configs = [json.loads((path / "config.json").read_text())["flowers"] for path in (files, shards)]
    losses = [[(row["loss"], row["val_loss"]) for row in config["history"]] for config in configs]
    assert losses[0] == losses[1]
    for key in ("metrics", "temperature", "rejection_threshold", "known"):
        assert configs[0][key] == configs[1][key], key
    report = tmp_path / "report.html"
    evaluated = run("eval", shards, "--split", "val", "--report", report)
    assert evaluated.code == 0, evaluated.err
    assert run("eval", shards, "--find-label-errors", "--report", report).code == 0
    shard = min(packed.glob("train-*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:700] + b"\0\0" + whole[702:])
    broken = run("train", "--data", packed, *OPTIONS, "num_workers=0", "--output", tmp_path / "broken")
    assert broken.code == 1
    assert f"{shard.name} does not hold what was packed" in broken.err
    assert any(f"{packed}/{photo.path}" in broken.err for photo in Manifest.read(packed / "flowers-split.json").photos)


def test_what_is_no_folder_of_shards_is_told(own_dataset, run):
    done = run("train", f"data.shards={own_dataset}", *OPTIONS)
    assert done.code == 2
    assert f"data.shards={own_dataset}: there are no shards." in done.err
    assert "flowers pack DATA --output DIR" in done.err
