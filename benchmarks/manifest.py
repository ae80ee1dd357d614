"""Time and memory of splitting 500,000 and 5,000,000 photographs: do they grow with the number, and no faster?

python benchmarks/manifest.py [--sizes 500000 5000000]

The photographs are made up, without files: a path as on Flickr, a sha256 and a perceptual hash, of a thousand classes;
one in fifty is a copy of another, one in fifty a near copy. All that follows reading them is what ``flowers split`` and
later commands do: looking for copies and near copies, the split, the manifest written and read, its statistics. Each
size has a process of its own; the seconds are of the processor, the memory is the peak of the whole process so far.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.data.columns import digests, perceptual_hashes
from flowercli.data.duplicates import Readable
from flowercli.data.make_split import split_what_was_read
from flowercli.data.manifest import Manifest
from flowercli.data.places import manifest_suffix
from flowercli.data.scan import Photo, Scan, photo_table
from flowercli.data.split import DEFAULT_RATIOS, DEFAULT_SEED, SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASSES = 1000
# Of so many, which one is a copy of the first, and which one nearly.
ONE_IN, COPY, NEAR_COPY = 50, 1, 2


def main() -> None:
    """Print a table for each size, or measure one where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[500_000, 5_000_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        measure(arguments.one)
        return
    for size in arguments.sizes:
        subprocess.run([sys.executable, __file__, "--one", str(size)], check=True)


def measure(size: int) -> None:
    """Go through all steps with so many photographs, and print what each took."""
    with step(f"{size:,} photographs"):
        scan, found = made_up(size)
        nothing = Readable(photo_table(), digests(), perceptual_hashes(), [])
    with step("copies, split"):
        result = split_what_was_read(scan, found, nothing, DEFAULT_RATIOS, DEFAULT_SEED)
    print(f"  {len(result.exact):,} groups of copies, {len(result.near):,} of near copies")
    manifest = result.manifest
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"split{manifest_suffix(size)}"
        with step("manifest written"):
            manifest.write(path)
        print(f"  {path.name}: {path.stat().st_size / 2**20:,.0f} MiB")
        with step("its hashes"):
            sha256 = (manifest.sha256, manifest.dataset_sha256)
        del scan, found, result, manifest
        with step("manifest read"):
            manifest = Manifest.read(path)
    with step("statistics"):
        counts = {split: sum(manifest.counts(split).values()) for split in SPLITS}
    print(f"  {counts}")
    with step("validation taken"):
        manifest.of_split("val")
    if (manifest.sha256, manifest.dataset_sha256) != sha256:
        message = "what was read is not what was written"
        raise RuntimeError(message)


def made_up(size: int) -> tuple[Scan, Readable]:
    """Return photographs as a scan finds them, and what reading them would tell."""
    photos, hashes, sha256 = photo_table(), perceptual_hashes(), digests()
    for number in range(size):
        is_copy, is_near = number % ONE_IN == COPY, number % ONE_IN == NEAR_COPY
        digest = hashlib.sha256(str(number - is_copy).encode()).digest()
        seen = hashlib.blake2b(str(number - is_copy - NEAR_COPY * is_near).encode(), digest_size=8).digest()
        name = f"class_{number * CLASSES // size:04}"
        photos.append(Photo(f"{name}/{number:010}_{digest[:5].hex()}_n.jpg", name))
        sha256.append(digest.hex())
        hashes.append(int.from_bytes(seen) ^ (0b111 * is_near))
    scan = Scan(Path("made-up"), photos, sorted(set(photos.columns["class_name"])))
    return scan, Readable(photos, sha256, hashes, [])


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print what the block took of the processor's time, and the process's peak memory so far."""
    started = time.process_time()
    yield
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
    print(f"{what:22} {time.process_time() - started:6.1f} s  {peak:5.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
