"""Time and memory of grouping near copies among 1,000 to 100,000 hashes of photographs: do they grow with the number?

python benchmarks/near_copies.py [--sizes 1000 10000 100000]

Three kinds: a burst (each hash up to six bits from one and the same), a video (each two bits from the one before), and
photographs that have nothing to do with each other. Each size has a process of its own; the memory is what it
takes beyond one that groups nothing.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

from flowercli.data.duplicates import near_groups

BITS = 64
BLOCK = 1000


def main() -> None:
    """Print a table, or measure one size of one kind where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(*_measure(arguments.one[0], int(arguments.one[1])))
        return
    print("kind     hashes  groups  in groups  seconds  MiB  of the size before: hashes, seconds, MiB")
    for kind in KINDS:
        _, _, _, empty = _in_process(kind, 0)
        before = None
        for size in arguments.sizes:
            groups, members, seconds, peak = _in_process(kind, size)
            row = size, seconds, peak - empty
            ratios = (
                "" if before is None else "  ".join(f"{now / then:.1f}" for now, then in zip(row, before, strict=True))
            )
            print(f"{kind:8} {size:6}  {groups:6.0f}  {members:9.0f}  {seconds:7.2f}  {row[2]:3.0f}  {ratios}")
            before = row


def _in_process(kind: str, size: int) -> list[float]:
    command = [sys.executable, __file__, "--one", kind, str(size)]
    return [float(word) for word in subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split()]


def _measure(kind: str, size: int) -> tuple[int, int, float, float]:
    """Return the groups, their members, the seconds, and the peak memory of the process in MiB."""
    hashes = KINDS[kind](np.random.default_rng(0), size)
    started = time.perf_counter()
    groups = near_groups(hashes.tolist())
    seconds = time.perf_counter() - started
    return len(groups), sum(map(len, groups)), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _flips(draw: np.random.Generator, count: int, most: int, least: int = 0) -> np.ndarray:
    """Return numbers in which so many bits are set, drawn at random, a thousand at a time to take little memory."""
    if count > BLOCK:
        return np.concatenate([_flips(draw, min(BLOCK, count - n), most, least) for n in range(0, count, BLOCK)])
    flips = np.zeros(count, np.uint64)
    wanted = draw.integers(least, most + 1, count)
    bits = draw.random((count, BITS)).argsort(axis=1)[:, :most].astype(np.uint64)
    for place in range(most):
        flips |= np.where(place < wanted, np.uint64(1) << bits[:, place], np.uint64(0))
    return flips


KINDS = {
    "burst": lambda draw, count: _flips(draw, count, 6),
    "video": lambda draw, count: np.bitwise_xor.accumulate(_flips(draw, count, 2, 2)),
    "strange": lambda draw, count: draw.integers(0, 2**BITS, count, dtype=np.uint64),
}


if __name__ == "__main__":
    main()
