"""Draw the five sample pictures: `python render.py [--out DIR] [--size WxH] [NAME ...]`.

Everything is made from formulas and a fixed seed, so the pictures belong to nobody
else and come out the same each time.
"""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from pathlib import Path

from film import save
from scene import photograph

HERE = Path(__file__).resolve().parent
NAMES = ("daisy", "dandelion", "rose", "sunflower", "tulip")


def size(text: str) -> tuple[int, int]:
    """Width and height from `1200x900`."""
    width, height = (int(part) for part in text.lower().split("x"))
    return width, height


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    parser.add_argument("--size", type=size, default=(1200, 900), help="e.g. 1200x900")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"no such flower: {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    """Draw and save the pictures asked for."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or NAMES:
        begun = time.perf_counter()
        pixels = photograph(import_module(name).scene(*options.size))
        path = options.out / f"{name}.jpg"
        save(pixels, path)
        print(f"{path}  {time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
