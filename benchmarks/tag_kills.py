"""Kill ``flowers tag``, and the command that takes it back, at moments by chance: is every byte there in the end?

python benchmarks/tag_kills.py [--kills 50] [--copies 12]

Each round kills a run, holds every sidecar to what it was or should be, lets a run end, and kills the taking back of
both. In the end every byte below the folder has to be what it was, and nothing else may be there.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support.kills import make_library, round_of
from support.sidecars import contents


def main() -> None:
    """Print how many kills hit what; an assertion that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="of runs that tag; as many and more hit those that undo")
    parser.add_argument("--copies", type=int, default=12, help="of five pictures")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    hits: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        library = make_library(Path(folder) / "library", arguments.copies)
        before = contents(library)
        while hits["tag"] < arguments.kills:
            hits.update(round_of(library, before, chance))
    print(f"{5 * arguments.copies} pictures, {len(before) - 5 * arguments.copies} sidecars before")
    print(", ".join(f"{what} {count}" for what, count in sorted(hits.items())) + ": nothing lost, every byte as it was")


if __name__ == "__main__":
    main()
