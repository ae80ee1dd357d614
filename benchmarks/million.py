"""`flowers classify` on a million photographs: seconds to the first answer, memory, and how fast they are listed.

python benchmarks/million.py PHOTOS [--count 1000000] [--seconds 60] [--work DIR]

The photographs are hard links to a few copies of PHOTOS: a tree of a thousand in each folder, and all in one folder. A
million answers take hours, so each run is ended after some seconds; memory is shown after a fifth of them and at the
end. Of what goes into a file, the first answers are there after a part: five seconds.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measured import flowers

IN_A_FOLDER = 1_000
# File systems allow 65,000 links to a file, and fewer.
LINKS = 30_000
LISTING = """
import io, sys, time
from flowercli.inference.sources import expand
started = time.process_time()
print(sum(1 for _ in expand(sys.argv[1:], io.StringIO())), time.process_time() - started)
"""


@dataclass(frozen=True)
class Seen:
    """What was seen of one run: seconds to the first answer printed, answers, MiB early, at the end and at most."""

    first: float
    answers: int
    early: float
    late: float
    peak: float


def main() -> None:
    """Print a row for each way to name and to write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--work", type=Path, help="a folder with as many bytes and names free")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        base = Path(folder)
        copies = copied(arguments.photos, base / "copies", 1 + 2 * arguments.count // LINKS)
        tree = linked(copies, base / "tree", arguments.count, IN_A_FOLDER)
        flat = linked(copies, base / "flat", arguments.count, arguments.count)
        runs = {
            "one photograph --json": [copies[0], "--json"],
            "tree --json": [tree, "--json"],
            "tree --format csv": [tree, "--format", "csv"],
            "'tree/**/*.jpg' --json": [f"{tree}/**/*.jpg", "--json"],
            "tree --output a.jsonl": [tree, "--output", base / "a.jsonl"],
            "tree --output a.parquet": [tree, "--output", base / "a.parquet"],
            "one folder --json": [flat, "--json"],
        }
        print("| run | first answer, s | answers a second | MiB after a fifth | MiB at the end | MiB at most |")
        print("|---|---|---|---|---|---|")
        for name, run in runs.items():
            seen = watched(flowers("classify", *run), arguments.seconds)
            rate = seen.answers / arguments.seconds
            printed = f"{seen.first:.2f} | {rate:.0f}" if seen.answers else "in a file | in a file"
            print(f"| {name} | {printed} | {seen.early:.0f} | {seen.late:.0f} | {seen.peak:.0f} |")
        for place in (tree, f"{tree}/**/*.jpg", flat):
            line = [sys.executable, "-c", LISTING, str(place)]
            count, seconds = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
            named = str(place).replace(str(base), "")
            print(f"{named}: {count} listed in {float(seconds):.1f} s of CPU")


def copied(photos: Path, folder: Path, count: int) -> list[Path]:
    """Copy photographs, the same again where there are too few, and return the copies."""
    found = sorted(photos.resolve().rglob("*.jpg"))
    folder.mkdir()
    return [
        Path(shutil.copyfile(photo, folder / f"{number}.jpg"))
        for number, photo in enumerate(itertools.islice(itertools.cycle(found), count))
    ]


def linked(copies: list[Path], folder: Path, count: int, in_a_folder: int) -> Path:
    """Make so many links to the copies in turn, so many in each subfolder."""
    for number in range(count):
        place = folder / f"{number // in_a_folder:05}"
        if number % in_a_folder == 0:
            place.mkdir(parents=True)
        os.link(copies[number % len(copies)], place / f"IMG_{number:08}.jpg")
    return folder


def watched(command: list[str], seconds: float) -> Seen:
    """Run a command for some seconds, read what it prints, and look at its memory; then end it as Ctrl-C does."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    first = early = late = peak = 0.0
    answers = 0
    while (now := time.perf_counter() - started) < seconds and process.poll() is None:
        text = process.stdout.read()
        answers += text.count(b"\n") if text else 0
        first = first or (now if text and text.count(b"\n") > ("csv" in command) else 0.0)
        late, peak = memory(process.pid)
        early = late if now < seconds / 5 else early
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate()
    return Seen(first, answers, early, late, peak)


def memory(process: int) -> tuple[float, float]:
    """Return the memory that a process has, and the most that it had, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    found = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # A shell's background jobs, and so theirs, would ignore it.
    main()
