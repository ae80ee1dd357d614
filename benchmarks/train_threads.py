"""Images per second of ``flowers train`` on the CPU as it is, against OpenMP threads that spin while they wait.

python benchmarks/train_threads.py PHOTOS [--count 160] [--rounds 2] [--busy 0]

Spinning is what GNU OpenMP does unless it is told otherwise. Both start from random weights and read the same
photographs; data loading is included, start-up is not. ``--busy`` programs beside them do nothing but take CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measured import spread
from train_speed import BATCH, MODEL, WORKERS, copy_photos, ours

if TYPE_CHECKING:
    from collections.abc import Iterator

# The count of GNU OpenMP's own where OMP_WAIT_POLICY is not set.
SPINNING = {"GOMP_SPINCOUNT": "300000"}


def main() -> None:
    """Train one epoch with each, in turn, and print the ratio round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--busy", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, others(arguments.busy):
        folder = Path(temporary)
        copy_photos(arguments.photos.resolve(), folder, arguments.count)
        pairs = [(ours(folder), spinning(folder)) for _ in range(arguments.rounds)]
    what = f"{MODEL}, batches of {BATCH}, {WORKERS} data workers, {arguments.count} photographs"
    print(f"{what}, {arguments.busy} busy programs beside; median (min to max)")
    print(f"as it is   {spread([waiting for waiting, _ in pairs], ' img/s')}")
    print(f"spinning   {spread([other for _, other in pairs], ' img/s')}")
    print(f"ratio      {spread([waiting / other for waiting, other in pairs])}")


@contextlib.contextmanager
def others(count: int) -> Iterator[None]:
    """Keep programs running that take all the CPU time they get."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def spinning(folder: Path) -> float:
    """Return the images per second of one epoch whose threads spin."""
    os.environ.update(SPINNING)
    try:
        return ours(folder)
    finally:
        for name in SPINNING:
            del os.environ[name]


if __name__ == "__main__":
    main()
