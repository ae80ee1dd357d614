"""Kill a training run at random moments, resume it each time, and compare its weights with those of a run left alone.

python benchmarks/kill_and_resume.py PHOTOS [--kills 20] [--count 200]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

from measured import flowers
from train_speed import copy_photos

# Small and quick, with everything that has a state: average, mixing, random augmentation, data workers.
RECIPE = (
    "model=tiny", "augment=strong", "ema_decay=0.9", "--batch-size", 16, "num_workers=2", "validate_every=1",
    "patience=0", "checkpoint_minutes=0", "tracking=none",
)  # fmt: skip


def main() -> None:
    """Print where each kill hit, and whether the two hashes are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_photos(arguments.photos.resolve(), folder, arguments.count)
        train = ("train", "--data", folder / "train", *RECIPE, "--epochs", arguments.kills + 4)
        whole = subprocess.run(
            flowers(*train, "--output", folder / "whole"), stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        killed = kill_and_resume(train, folder / "killed", arguments.kills)
        hashes = [weights_hash(path) for path in (whole, killed)]
    print(f"left alone {hashes[0]}\nkilled     {hashes[1]}\n{'equal' if hashes[0] == hashes[1] else 'DIFFERENT'}")


def kill_and_resume(train: tuple[object, ...], output: Path, kills: int) -> str:
    """Return the path of the bundle that came out in the end."""
    command = flowers(*train, "--output", output)
    for number in range(1, kills + 1):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        wait_for_checkpoint(process, output, time.time())
        time.sleep(random.uniform(0, 0.6))
        process.kill()
        out = process.communicate()[0].strip()
        if out:
            print(f"done before kill {number}")
            return out
        print(f"kill {number}: {[path.name for path in output.iterdir()]}", flush=True)
        command = flowers("train", "--resume", "--output", output)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def wait_for_checkpoint(process: subprocess.Popen[str], output: Path, started: float) -> None:
    """Return once the process has written a checkpoint of its own, or has ended."""
    while process.poll() is None:
        if any(path.stat().st_mtime > started for path in output.glob("*/last.pt")):
            return
        time.sleep(0.02)


def weights_hash(bundle: str) -> str:
    """Return the sha256 of a bundle's weights, as its description lists it."""
    description = json.loads((Path(bundle) / "config.json").read_text(encoding="utf-8"))
    return str(description["flowers"]["files"]["model.safetensors"]["sha256"])


if __name__ == "__main__":
    main()
