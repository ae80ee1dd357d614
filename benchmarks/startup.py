"""Seconds of ``flowers --help`` and of one photograph from cold, next to a bare interpreter.

python benchmarks/startup.py [PICTURE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measured import flowers, in_turn, spread

SAMPLE = Path(__file__).parent.parent / "docs" / "samples" / "rose.jpg"


def main() -> None:
    """Measure both commands in turn with the bare interpreter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, nargs="?", default=SAMPLE)
    picture = parser.parse_args().picture
    for title, command in (("flowers --help", ("--help",)), ("flowers classify PICTURE", ("classify", picture))):
        found = in_turn({title: flowers(*command), "  python -c pass": [sys.executable, "-c", "pass"]}, runs=9)
        for name, measured in found.items():
            print(f"{name:26} {spread([run.wall for run in measured], ' s')}")


if __name__ == "__main__":
    main()
