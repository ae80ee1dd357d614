"""Images per second of ``flowers classify --json`` against a plain two-thread script with the same model.

python benchmarks/throughput.py PHOTOS [--runs 5] [--links 20000] [--enlarge 4000 --count 100]

``--links`` makes a larger folder of the same photographs, where starting up weighs less.

``--enlarge`` measures what comes out of a phone: copies of the photographs with a longer side of that many pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measured import flowers, in_turn, linked, spread
from PIL import Image

from flowercli.models import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


def main() -> None:
    """Measure both in turn, start-up included, and print the ratio pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--links", type=int, help="classify so many links to the photographs instead")
    parser.add_argument("--enlarge", type=int, help="longer side in pixels")
    parser.add_argument("--count", type=int, default=100, help="photographs to enlarge")
    arguments = parser.parse_args()
    model = load_model(None).file("model.int8.onnx")
    with prepared(arguments) as photos:
        count = len(list(photos.rglob("*.jpg")))
        script = [sys.executable, str(Path(__file__).parent / "plain_script.py"), str(photos), str(model)]
        ours, theirs = in_turn(flowers("classify", photos, "--json"), script, arguments.runs)
    size = f" of {arguments.enlarge} pixels" if arguments.enlarge else ""
    print(f"{count} photographs{size}, {arguments.runs} runs of each in turn, whole processes; median (min to max)")
    print(f"flowers classify --json   {spread([count / run.wall for run in ours], ' img/s')}")
    print(f"plain two-thread script   {spread([count / run.wall for run in theirs], ' img/s')}")
    ratios = [theirs_run.wall / ours_run.wall for ours_run, theirs_run in zip(ours, theirs, strict=True)]
    print(f"ratio, pair by pair       {spread(ratios)}")
    cpu = [[1000 * run.cpu / count for run in runs] for runs in (ours, theirs)]
    print(f"CPU a photograph          {spread(cpu[0], ' ms')} against {spread(cpu[1], ' ms')}")


def prepared(arguments: argparse.Namespace) -> AbstractContextManager[Path]:
    """Have the folder as it is, or one with links to its photographs, or with enlarged copies of some of them."""
    if arguments.links:
        return linked(arguments.photos, arguments.links)
    if arguments.enlarge:
        return enlarged(arguments.photos, arguments.enlarge, arguments.count)
    return contextlib.nullcontext(arguments.photos)


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
