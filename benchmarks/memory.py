"""Peak memory of ``flowers classify --json`` for 600 and for 20,000 photographs.

python benchmarks/memory.py PHOTOS
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measured import flowers, linked, measure

COUNTS = (600, 20_000)


def main() -> None:
    """Make the folders out of links, classify them and print both peaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    photos = parser.parse_args().photos
    peaks = []
    for count in COUNTS:
        with linked(photos, count) as folder:
            run = measure(flowers("classify", folder, "--json"))
        peaks.append(run.peak)
        print(f"{count:6} photographs: peak {run.peak:.1f} MiB, {count / run.wall:.0f} img/s")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
