"""Images per second of ``flowers train`` against timm's ``train.py``: same model, data and batch, on the CPU.

python benchmarks/train_speed.py PHOTOS TIMM_TRAIN_PY [--count 640] [--rounds 2]

TIMM_TRAIN_PY is ``train.py`` in a checkout of pytorch-image-models; it runs with its defaults. Both start from random
weights and read the same photographs; data loading is included, start-up is not.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measured import flowers, spread

MODEL, BATCH, WORKERS = "tf_efficientnet_lite0", 32, 2
VALIDATION_A_CLASS = 4
THEIRS = re.compile(r"\(\s*[\d.]+s,\s*([\d.]+)/s\)")
OURS = re.compile(r"([\d.]+) img/s")


def main() -> None:
    """Train one epoch with each, in turn, and print the ratio round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("timm_train", type=Path)
    parser.add_argument("--count", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_photos(arguments.photos.resolve(), folder, arguments.count)
        pairs = [(ours(folder), theirs(folder, arguments.timm_train)) for _ in range(arguments.rounds)]
    print(f"{MODEL}, batches of {BATCH}, {WORKERS} data workers, {arguments.count} photographs; median (min to max)")
    print(f"flowers train   {spread([our for our, _ in pairs], ' img/s')}")
    print(f"timm train.py   {spread([their for _, their in pairs], ' img/s')}")
    print(f"ratio           {spread([our / their for our, their in pairs])}")


def copy_photos(photos: Path, folder: Path, count: int) -> None:
    """Lay out the same photographs for both: ``train/`` and ``validation/``, one subfolder a class."""
    classes = sorted(path for path in photos.iterdir() if path.is_dir())
    for source in classes:
        found = sorted(source.glob("*.jpg"))
        parts = {"train": found[: count // len(classes)], "validation": found[-VALIDATION_A_CLASS:]}
        for split, paths in parts.items():
            target = folder / split / source.name
            target.mkdir(parents=True)
            for path in paths:
                shutil.copy(path, target)


def ours(folder: Path) -> float:
    """Return the images per second of one epoch of ``flowers train``."""
    options = (
        "model.name=" + MODEL,
        "model.pretrained=false",
        "data.ratios=[0.94,0.03,0.03]",
        "tracking=none",
        "--epochs",
        1,
    )
    data = folder / "train"
    command = flowers(
        "train", "--data", data, *options, "--batch-size", BATCH, f"num_workers={WORKERS}", "--device", "cpu",
        "--output", folder / "runs",
    )  # fmt: skip
    return last_rate(command, OURS)


def theirs(folder: Path, script: Path) -> float:
    """Return the images per second of one epoch of timm's script."""
    command = [
        sys.executable, str(script), str(folder), "--model", MODEL, "--num-classes", "5", "--batch-size", str(BATCH),
        "--workers", str(WORKERS), "--epochs", "1", "--device", "cpu", "--log-interval", "5",
        "--output", str(folder / "timm"),
    ]  # fmt: skip
    return last_rate(command, THEIRS)


def last_rate(command: list[str], pattern: re.Pattern[str]) -> float:
    """Run a training and return the last rate that it reports."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rates = pattern.findall(done.stdout + done.stderr)
    if done.returncode or not rates:
        message = f"{command} exited with {done.returncode}: {done.stderr[-2000:]}"
        raise RuntimeError(message)
    return float(rates[-1])


if __name__ == "__main__":
    main()
