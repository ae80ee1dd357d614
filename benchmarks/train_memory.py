"""Memory of a training run, epoch by epoch: does it stay where it is after the first validation?

python benchmarks/train_memory.py PHOTOS [--epochs 12] [--count 320] [KEY=VALUE ...]

Every epoch is followed by a validation and a checkpoint. What is shown is what the process holds at the end of
each epoch, without its data workers, and the ratio of the last epoch to the second.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from measured import flowers
from train_speed import MODEL, copy_photos

from flowercli.bundle import Bundle


def main() -> None:
    """Train and print the memory of each epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--count", type=int, default=320)
    arguments = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_photos(arguments.photos.resolve(), folder, arguments.count)
        options = (f"model.name={MODEL}", "model.pretrained=false", "tracking=none", "plots=false", "validate_every=1")
        command = flowers(
            "train", "--data", folder / "train", *options, "patience=0", "data.ratios=[0.9,0.1,0.0]",
            "--epochs", arguments.epochs, "--output", folder / "runs", *arguments.overrides,
        )  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        held = [epoch["memory"] for epoch in Bundle.load(Path(done.stdout.strip())).section["history"]]
    print("MiB after each epoch:", " ".join(f"{memory:.0f}" for memory in held))
    print(f"last over second: {held[-1] / held[1]:.3f}")


if __name__ == "__main__":
    main()
