"""Images per second of ``flowers classify --json`` against what people use today, whole processes in turn.

python benchmarks/throughput.py PHOTOS [--yolo PROGRAM] [--timm INFERENCE_PY] [--runs 5] [--count 611]
                                       [--links 20000] [--enlarge 4000 --count 100] [--plot FILE]

Peers: ``plain_script.py``, a plain two-thread script with the same model; with ``--yolo`` (the program of an
environment with ultralytics) ``yolo classify predict`` with its nano classifier at 224 pixels, its pictures not saved;
with ``--timm`` (``inference.py`` of a checkout of pytorch-image-models) that with the network of our model and with its
defaults. Theirs have random weights, which are as fast as others.

``--count`` takes so many of the photographs, ``--count 1`` shows the time from cold; ``--links`` makes a larger folder
of the same, where starting up weighs less; ``--enlarge`` measures what comes out of a phone: copies with a longer side
of that many pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measured import Measured, flowers, in_turn, linked, spread
from PIL import Image

from flowercli.models import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

OURS = "flowers classify --json"
MAKE_YOLO = "import sys; from ultralytics import YOLO; YOLO('yolo11n-cls.yaml').save(sys.argv[1])"
MAKE_TIMM = (
    "import sys, timm, torch; torch.save(timm.create_model(sys.argv[2], num_classes=106).state_dict(), sys.argv[1])"
)


def main() -> None:
    """Measure all in turn, start-up included, and print a line for each, with the ratio pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--yolo", type=Path)
    parser.add_argument("--timm", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--links", type=int, help="classify so many links to the photographs instead")
    parser.add_argument("--enlarge", type=int, help="longer side in pixels")
    parser.add_argument("--count", type=int, help="photographs to take")
    parser.add_argument("--plot", type=Path, help="a picture of the figures, .svg or .png")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, prepared(asked) as photos:
        found = in_turn(programs(asked, photos.resolve(), Path(temporary)), asked.runs)
        count = len(list(photos.rglob("*.jpg")))
    size = f" of {asked.enlarge} pixels" if asked.enlarge else ""
    print(f"{count} photographs{size}, {asked.runs} runs of each in turn, whole processes; median (min to max)\n")
    print(table(found, count))
    if asked.plot:
        plot(found, count, asked.plot)


def programs(asked: argparse.Namespace, photos: Path, work: Path) -> dict[str, list[str]]:
    """Return the command of each program."""
    bundle = load_model(None)
    script = Path(__file__).parent / "plain_script.py"
    found = {
        OURS: flowers("classify", photos, "--json"),
        "plain two-thread script": [sys.executable, str(script), str(photos), str(bundle.file("model.int8.onnx"))],
    }
    if asked.yolo:
        python = asked.yolo.absolute().parent / "python"
        subprocess.run([python, "-c", MAKE_YOLO, work / "best.pt"], check=True, stdout=subprocess.DEVNULL, cwd=work)
        options = (f"source={photos}", "imgsz=224", "device=cpu", "save=False", f"project={work}")
        found["yolo classify predict"] = [str(asked.yolo), "classify", "predict", f"model={work}/best.pt", *options]
    if asked.timm:
        network = bundle.config["architecture"]
        subprocess.run([sys.executable, "-c", MAKE_TIMM, work / "best.pth", network], check=True)
        options = ("--num-classes", "106", "--checkpoint", f"{work}/best.pth", "--device", "cpu")
        said = ("--topk", "1", "--results-dir", str(work), "--no-console-results")
        line = [sys.executable, str(asked.timm), str(photos), "--model", network, *options, *said]
        found["timm's inference.py"] = line
    return found


def table(found: dict[str, list[Measured]], count: int) -> str:
    """Return the figures in Markdown; times as often, pair by pair."""
    lines = ["| program | img/s | of ours | CPU a photograph | MiB |", "|---|---|---|---|---|"]
    for name, runs in found.items():
        rate, cpu, peak = (
            spread([count / run.wall for run in runs]),
            spread([1000 * run.cpu / count for run in runs], " ms"),
            f"{max(run.peak for run in runs):.0f}",
        )
        times = [theirs.wall / ours.wall for ours, theirs in zip(found[OURS], runs, strict=True)]
        lines.append(f"| {name} | {rate} | {'1' if name == OURS else f'ours {spread(times)} times'} | {cpu} | {peak} |")
    return "\n".join(lines)


def plot(found: dict[str, list[Measured]], count: int, target: Path) -> None:
    """Draw images a second, a bar for the median and a dot for each run."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 0.6 * len(found) + 0.8), layout="constrained")
    for name, runs in reversed(found.items()):
        rates = sorted(count / run.wall for run in runs)
        axes.barh(name, rates[len(rates) // 2], color="0.75" if name != OURS else "tab:blue")
        axes.plot(rates, [name] * len(rates), "k.", markersize=4)
    axes.set_xlabel(f"photographs a second, {count} in a process")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)


def prepared(asked: argparse.Namespace) -> AbstractContextManager[Path]:
    """Have the folder as it is, links to some of its photographs or to all again and again, or enlarged copies."""
    if asked.enlarge:
        return enlarged(asked.photos, asked.enlarge, asked.count or 100)
    if asked.links or asked.count:
        return linked(asked.photos, asked.links or asked.count)
    return contextlib.nullcontext(asked.photos)


@contextlib.contextmanager
def enlarged(photos: Path, longer_side: int, count: int) -> Iterator[Path]:
    """Yield a folder with enlarged copies of some of the photographs."""
    found = sorted(photos.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(found[:: max(1, len(found) // count)][:count]):
            with Image.open(path) as image:
                scale = longer_side / max(image.size)
                size = (round(image.width * scale), round(image.height * scale))
                large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
            large.save(f"{folder}/{number:04}.jpg", quality=90)
        yield Path(folder)


if __name__ == "__main__":
    main()
