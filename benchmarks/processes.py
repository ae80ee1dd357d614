"""Train in one, two and four processes, stopped and killed too, and compare losses and weights with those of one.

python benchmarks/processes.py PHOTOS [--count 120] [--epochs 2] [--stops 5] [--only sgd]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from itertools import product
from pathlib import Path

import torch
from kill_and_resume import wait_for_checkpoint
from measured import flowers
from safetensors.torch import load_file
from train_speed import copy_photos

PARTS, BATCH = 4, 16
RECIPE = (
    "model=tiny", "loss=supcon", "precision=fp32", "--batch-size", BATCH, f"micro_batch={BATCH // PARTS}",
    "num_workers=0", "validate_every=1", "patience=0", "checkpoint_minutes=0", "optim.lr=1e-3", "tracking=none",
    "plots=false",
)  # fmt: skip
OPTIMIZERS = {"sgd": ("optim.name=sgd",), "adam": ("optim.name=adam",)}
PLAIN = ("augment=none",)
EXTRAS = {
    "freezing": (*PLAIN, "optim.freeze_epochs=1", "optim.freeze_stages=2"),
    "mixing": ("augment=strong", "augment.mix_probability=0.7"),
    "drop path": (*PLAIN, "model.drop_path_rate=0.3", "model.drop_rate=0.3"),
    "average": (*PLAIN, "ema_decay=0.9"),
}
ALL = (
    "optim.freeze_epochs=1", "optim.freeze_stages=1", "augment=strong", "model.drop_path_rate=0.3",
    "model.drop_rate=0.3", "ema_decay=0.9",
)  # fmt: skip


def main() -> None:
    """Print the largest differences from one process, a line a comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--only", choices=[*OPTIMIZERS, "stops"], help="One optimizer alone, or runs that are stopped.")
    arguments = parser.parse_args()
    # The number of threads decides in which order numbers are added up; that of the processes is to be compared.
    os.environ["FLOWERS_THREADS"] = "1"
    optimizers = [name for name in OPTIMIZERS if arguments.only in {None, name}]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_photos(arguments.photos.resolve(), folder, arguments.count)
        train = ["train", "--data", folder / "train", *RECIPE, "--epochs", arguments.epochs]
        print(f"{'optimizer':<10}{'with':<12}{'processes':<11}{'losses':<10}{'weights':<10}statistics")
        for optimizer, extra in product(optimizers, EXTRAS):
            compare([*train, *OPTIMIZERS[optimizer], *EXTRAS[extra]], f"{optimizer:<10}{extra:<12}", folder)
        stopped([*train[:-1], arguments.epochs + 4, *OPTIMIZERS["sgd"], *ALL], folder, arguments.stops)


def compare(train: list[object], name: str, folder: Path) -> None:
    """Train in one, two and four processes and print how far the last two are from the first."""
    outputs = {number: folder / f"{time.monotonic_ns()}" for number in (1, 2, PARTS)}
    bundles = {
        number: bundle_of(flowers(*train, "--output", output, "--processes", number))
        for number, output in outputs.items()
    }
    for number in (2, PARTS):
        print(f"{name}{number:<11}{differences(bundles[1], bundles[number])}", flush=True)


def stopped(train: list[object], folder: Path, stops: int) -> None:
    """Stop runs at random moments, go on in another number of processes, and compare with one left alone."""
    alone = bundle_of(flowers(*train, "--output", folder / "alone"))
    for number in range(stops):
        output = folder / f"stopped-{number}"
        processes, others = random.sample((1, 2, PARTS), 2)
        how = (signal.SIGTERM, signal.SIGKILL)[number % 2]
        run = flowers(*train, "--output", output, "--processes", processes)
        code = stop(run, output, how)
        told = f"{how.name} in {processes} (exit code {code}), on in {others}"
        bundle = bundle_of(flowers("train", "--resume", "--output", output, "--processes", others))
        print(f"{told:<44}{differences(alone, bundle)}", flush=True)


def stop(command: list[str], output: Path, how: signal.Signals) -> int:
    """Start a run, send it a signal at a random moment behind its first checkpoint, and return its exit code."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_checkpoint(process, output, time.time())
    time.sleep(random.uniform(0, 4))
    process.send_signal(how)
    return process.wait()


def bundle_of(command: list[str]) -> Path:
    """Train, and return the bundle."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Path(done.stdout.strip())


def differences(one: Path, other: Path) -> str:
    """Return the largest difference of the epochs' losses, of the weights, and of the batch statistics."""
    losses = [[(each["loss"], each["val_loss"]) for each in history(bundle)] for bundle in (one, other)]
    first, second = (torch.tensor(each, dtype=torch.float64) for each in losses)
    found = {"losses": (first - second).abs().max().item(), "weights": 0.0, "statistics": 0.0}
    there = load_file(other / "model.safetensors")
    for name, values in load_file(one / "model.safetensors").items():
        kind = "statistics" if "running" in name else "weights"
        distance = (values.double() - there[name].double()).abs().max().item()
        found[kind] = max(found[kind], distance)
    return "".join(f"{value:<10.1e}" for value in found.values())


def history(bundle: Path) -> list[dict[str, float]]:
    """Return what a bundle records of its epochs."""
    description = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
    epochs: list[dict[str, float]] = description["flowers"]["history"]
    return epochs


if __name__ == "__main__":
    main()
