"""Images per second of ``flowers classify --json`` against a plain two-thread script with the same model.

python benchmarks/throughput.py PHOTOS [--runs 5]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measured import flowers, in_turn, spread

from flowercli.models import load_model


def main() -> None:
    """Measure both in turn, start-up included, and print the ratio pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    count = len(list(arguments.photos.rglob("*.jpg")))
    model = load_model(None).file("model.int8.onnx")
    script = [sys.executable, str(Path(__file__).parent / "plain_script.py"), str(arguments.photos), str(model)]
    ours, theirs = in_turn(flowers("classify", arguments.photos, "--json"), script, arguments.runs)
    print(f"{count} photographs, {arguments.runs} runs of each in turn, whole processes; median (min to max)")
    print(f"flowers classify --json   {spread([count / run.wall for run in ours], ' img/s')}")
    print(f"plain two-thread script   {spread([count / run.wall for run in theirs], ' img/s')}")
    ratios = [theirs_run.wall / ours_run.wall for ours_run, theirs_run in zip(ours, theirs, strict=True)]
    print(f"ratio, pair by pair       {spread(ratios)}")
    print(f"CPU a photograph          {spread([1000 * run.cpu / count for run in ours], ' ms')}")


if __name__ == "__main__":
    main()
