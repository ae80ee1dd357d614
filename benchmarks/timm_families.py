"""Train and export one small member of each of timm's families, from random weights; a Markdown table of what works.

    python benchmarks/timm_families.py [FAMILY ...] [--limit SECONDS]

Two steps of training on twelve pictures; the exported graph is held to torch, and so is what timm makes of the bundle;
then the network is built for another size. Each in a process of its own, as a fault may end it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import flowercli.training  # noqa: F401  (before torch)

os.environ["HF_HUB_OFFLINE"] = "1"

import timm
import torch

from flowercli.bundle import Bundle
from flowercli.cli.main import main as flowers
from flowercli.errors import ExportError, FlowersError
from flowercli.export.graph import export_fp32, load_deployed
from flowercli.export.parity import check_batches, onnx_answers, torch_answers
from flowercli.training.architecture import try_out
from flowercli.training.config import compose_config
from flowercli.training.model import PixelClassifier, create_backbone, load_bundle_model, resolved_cfg

SMALLER_BY = 32
# What is compared between timm's answer and ours, relative to the largest logit.
TOLERANCE = 1e-3


class Member(NamedTuple):
    """A family's smallest network: its name and its weights in millions; ``inf`` where it cannot be built."""

    family: str
    name: str
    millions: float


def smallest_members(only: list[str]) -> list[Member]:
    """Build every network of every family without memory, but those that timm has for its own tests."""
    families = defaultdict(list)
    for name in timm.list_models(exclude_filters="test_*"):
        families[timm.models.model_entrypoint(name).__module__.rpartition(".")[2]].append(name)
    chosen = {family: names for family, names in families.items() if not only or family in only}
    return [
        min((Member(family, name, _millions(name)) for name in names), key=lambda member: member.millions)
        for family, names in sorted(chosen.items())
    ]


def _millions(name: str) -> float:
    try:
        with torch.device("meta"):
            return sum(each.numel() for each in timm.create_model(name).parameters()) / 1e6
    except Exception:  # noqa: BLE001  (some compute with their weights while they are built)
        return float("inf")


def write_pictures(folder: Path) -> None:
    """Write two classes of six pictures."""
    generator = np.random.default_rng(0)
    for name in ("light", "dark"):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            pixels = generator.integers(0, 128, (96, 96, 3)) + (127 if name == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")


def trial(member: Member, data: Path, output: Path) -> None:
    """Train, export, compare with timm, and build for another size; end the process where something fails."""
    overrides = [f"model.name={member.name}", "model.pretrained=false", "loss=ce", "num_workers=0", "epochs=1"]
    overrides += ["batch_size=4", "data.ratios=[0.7,0.15,0.15]", "plots=false", "tracking=none", "name=run"]
    _require(flowers(["train", "--data", str(data), "--output", str(output), *overrides]))
    bundle = Bundle.load(output / "run")
    _compare(bundle, output / "model.onnx")
    ours = load_bundle_model(bundle)
    _other_size([*overrides, f"model.image_size={ours.input_size[0] - SMALLER_BY}"])


def _compare(bundle: Bundle, graph: Path) -> None:
    """Hold the graph, and what timm loads, to the trained network."""
    # Two steps and two photographs calibrate nothing: a temperature near zero would make much of any rounding.
    bundle.section["temperature"] = 1.0
    bundle.section.pop("known")
    export_fp32(bundle, graph)
    model = load_deployed(bundle)
    height, width = model.model.input_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
    check_batches(graph.name, onnx_answers(graph, bundle), torch_answers(model), pixels, (1, 3))
    theirs = timm.create_model(f"local-dir:{bundle.path}", pretrained=True).eval()
    with torch.inference_mode():
        floats = model.model.normalised(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        logits, same = model.model.answer(floats)[0], theirs(floats)
    if (logits - same).abs().max() > TOLERANCE * max(1.0, float(same.abs().max())):
        raise ExportError("timm answers otherwise with the weights of the bundle.")


def _other_size(overrides: list[str]) -> None:
    config = compose_config(overrides)
    try:
        backbone = create_backbone(config.model, 2)
        try_out(PixelClassifier(backbone, resolved_cfg(backbone, config.model, 2)), config)
    except FlowersError as error:
        print(f"Size: {error.message}", file=sys.stderr)


def _require(code: int) -> None:
    if code:
        raise SystemExit(code)


def in_own_process(member: Member, data: Path, seconds: int) -> tuple[int, str]:
    """Return the exit status of a trial, which is ended after some seconds, and what it wrote to stderr."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            signal.alarm(seconds)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = 70
            with contextlib.suppress(SystemExit):
                try:
                    trial(member, data, Path(folder))
                    code = 0
                except FlowersError as error:
                    print(f"Error: {error.message}", file=sys.stderr)
                except SystemExit as stop:
                    code = int(stop.code or 0)
                except BaseException:  # noqa: BLE001
                    import traceback

                    traceback.print_exc()
            sys.stderr.flush()
            os._exit(code)
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


def verdict(code: int, said: str) -> str:
    """Return in a few words what a trial gave."""
    lines = [line for line in said.splitlines() if line.strip()]
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    if code:
        return next((line for line in lines if line.startswith("Error:")), lines[-1] if lines else "no word")
    sizes = [line.removeprefix("Size: ") for line in lines if line.startswith("Size: ")]
    return f"works; {sizes[0]}" if sizes else "works, at other sizes too"


def main() -> None:
    """Print a row a family as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", nargs="*", help="timm's modules, as resnet; all by default")
    parser.add_argument("--limit", type=int, default=900, metavar="SECONDS", help="for one of them; 900 by default")
    asked = parser.parse_args()
    members = smallest_members(asked.family)
    print(f"timm {timm.__version__}, torch {torch.__version__}\n\n| family | member | M | | s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLOWERS_HOME"] = folder
        data = Path(folder) / "pictures"
        write_pictures(data)
        for member in sorted(members, key=lambda member: member.millions):
            started = time.monotonic()
            result = verdict(*in_own_process(member, data, asked.limit))
            seconds = time.monotonic() - started
            print(f"| {member.family} | {member.name} | {member.millions:.1f} | {result} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
