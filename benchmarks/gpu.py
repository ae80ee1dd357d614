"""What a GPU gives, in eight minutes at most: tests, images a second of inference and training, each against a peer.

    python benchmarks/gpu.py [--photos DIR] [--model BUNDLE]
    python benchmarks/gpu.py --provider cpu        the same script without a GPU: whether it runs, and nothing measured
    python benchmarks/gpu.py --wheels              what such a machine needs installed

Each part has its time, and ends there with what it has said; one that fails stops no other. Where TensorRT is missing,
what needs it is left out, and said.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Timer
from typing import NamedTuple

from flowercli.inference.probe import cuda_obstacles, tensorrt_obstacles

TOTAL_SECONDS = 480
DRY = "(dry run on a CPU: says nothing about a GPU)"
# Smaller than what is measured: whether each line of it runs.
SMALL = (
    "--network", "test_efficientnet", "--sizes", "1,8", "--count", "100", "--seconds", "0.2",
    "--train-network", "test_efficientnet", "--train-batch", "4", "--train-side", "64",
)  # fmt: skip
# Nor is it in a hurry, on a machine that may do much else.
DRY_SECONDS = 1500
# Distributions whose versions decide what runs on a GPU, and those whose extras bring NVIDIA's libraries.
DECIDING = ("onnxruntime-gpu", "tensorrt-cu13", "torch", "torchvision", "timm", "numpy", "pillow", "onnx", "onnxscript")
CUDA_EXTRAS = ("cuda", "cudnn")
INSTALL = "pip install -e '.[train,tensorrt]' --group test      (without TensorRT: '.[train,gpu]')"


class Part(NamedTuple):
    """A part of ``gpu_parts.py``: what it answers, its arguments, the seconds it has, and what it cannot do without."""

    title: str
    name: str
    arguments: tuple[str, ...]
    seconds: float
    needs: str = ""


def parts(device: str, *, own_model: bool) -> list[Part]:
    """Return what is run on a machine, in the order of what is wanted most."""
    on = ("--device", device)
    if device == "cpu":
        with_device = [
            Part("CPU", "device", on, 300),
            Part("Decoding and CPU together", "stream", (*on, "--batch-size", "8"), 300),
            Part("Training", "training", on, 600),
        ]
    else:
        tensorrt = ("--device", "tensorrt")
        with_device = [
            Part("CUDA", "device", on, 50, "cuda"),
            Part("Decoding and CUDA together", "stream", on, 40, "cuda"),
            Part("Engine", "engine", (), 100, "tensorrt"),
            Part("TensorRT", "device", tensorrt, 50, "tensorrt"),
            Part("Decoding and TensorRT together", "stream", tensorrt, 40, "tensorrt"),
            Part("Training", "training", on, 60, "cuda"),
            # They train, and build engines anew: as many as there is time for.
            Part("Tests (nox -s gpu)", "tests", (), 300, "cuda"),
        ]
    model = [] if own_model else [Part("A model with random weights", "model", (), 90 if device == "cuda" else 300)]
    return [Part("Machine", "machine", (), 30), *model, *with_device]


def run(part: Part, common: list[str], seconds: float) -> str:
    """Run a part, which prints as it goes, and return in a word what came of it."""
    script = str(Path(__file__).parent / "gpu_parts.py")
    line = [sys.executable, script, part.name, *common, *part.arguments]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        ended = [False]

        def end() -> None:
            ended[0] = True
            os.killpg(process.pid, signal.SIGKILL)

        timer = Timer(seconds, end)
        timer.start()
        try:
            assert process.stderr is not None
            errors = process.stderr.read().strip().splitlines()
            code = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:  # On Ctrl-C.
                end()
    if ended[0]:
        return f"stopped after its {seconds:.0f} s: what it printed stands, the rest is not measured"
    return "" if code == 0 else f"failed, nothing more is measured: {errors[-1] if errors else f'exit code {code}'}"


def wheels() -> None:
    """Print what must be installed, with the versions of this environment where it is there."""
    print(f"{INSTALL}\n")
    for name in DECIDING:
        try:
            print(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}   (not here; pyproject.toml says which)")
    for text in importlib.metadata.requires("onnxruntime-gpu") or ():
        wanted, _, marker = text.partition(";")
        if (extra := re.search(r"extra == ['\"](\w+)['\"]", marker)) and extra[1] in CUDA_EXTRAS:
            print(wanted.strip())
    print("NVIDIA's driver 580 or later, for CUDA 13. tensorrt-cu13 fetches its libraries from NVIDIA's own index.")


def main() -> None:
    """Run all parts that this machine can, and say what it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; some are made without one")
    parser.add_argument("--model", type=Path, help="a bundle with model.fp16.onnx; one is made without it")
    parser.add_argument("--network", help="the architecture of the one that is made")
    parser.add_argument("--wheels", action="store_true", help="print what such a machine needs, and end")
    asked = parser.parse_args()
    if asked.wheels:
        wheels()
        return
    obstacles = {"cuda": next(cuda_obstacles(), None), "tensorrt": next(tensorrt_obstacles(), None)}
    if asked.provider == "cuda" and (missing := obstacles["cuda"]):
        parser.exit(1, f"No GPU: {missing.reason}.\n{missing.fix}\nOr try the script out: --provider cpu\n")
    started, total = time.monotonic(), TOTAL_SECONDS if asked.provider == "cuda" else DRY_SECONDS
    with tempfile.TemporaryDirectory() as work:
        common = ["--work", work, "--bundle", str(asked.model or Path(work) / "bundle")]
        common += [
            *(SMALL if asked.provider == "cpu" else ()),
            *(("--photos", str(asked.photos)) if asked.photos else ()),
        ]
        common += ["--network", asked.network] if asked.network else []
        for part in parts(asked.provider, own_model=asked.model is not None):
            print(f"{part.title} {DRY if asked.provider == 'cpu' else ''}", flush=True)
            left = total - (time.monotonic() - started)
            lacks = obstacles[part.needs] if part.needs else None
            if lacks:
                print(f"  not measured: {lacks.reason}; {lacks.fix}", flush=True)
            elif left < 1:
                print(f"  not measured: the {total} s are over", flush=True)
            elif came := run(part, common, min(part.seconds, left)):
                print(f"  {came}", flush=True)
    print(f"{time.monotonic() - started:.0f} s {DRY if asked.provider == 'cpu' else ''}")


if __name__ == "__main__":
    main()
