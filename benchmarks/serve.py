"""``flowers serve`` under load from a second process: the highest rate without errors, held; twice that; and after it.

python benchmarks/serve.py PHOTOS [--minutes 10] [--count 500]

The share of ``flowers classify --json``'s speed is that of the CPU seconds a photograph: what the client uses is then
left out, and so is what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measured import flowers, measure, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_SECONDS = 8.0
STEP = 1.1
# A step is too much when its slowest hundredth waits longer than this, in milliseconds.
TOO_SLOW = 50.0
# Held for minutes is less than the last step that went well: the machine's own speed goes up and down.
HELD = 0.85
OVERLOAD_SECONDS = 20.0
AFTER_SECONDS = 10.0
CLASSIFY_RUNS = 3


@dataclass(frozen=True)
class Server:
    """A running server."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Return the CPU seconds used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return the resident memory in MiB."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+)", text)
        assert found
        return int(found[1]) / 1024


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server with its defaults."""
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen(flowers("serve", "--port", "0"), stderr=log)
        try:
            while not (found := re.search(r"Ready: \S+:(\d+)", Path(log.name).read_text(encoding="utf-8"))):
                time.sleep(0.05)
            yield Server(process.pid, int(found[1]))
        finally:
            process.terminate()
            print(f"SIGTERM: exit code {process.wait()}")


def load(server: Server, photos: Path, rate: float, seconds: float, count: int) -> dict[str, Any]:
    """Send photographs from another process and return what came of it, with the server's CPU seconds."""
    script = str(Path(__file__).with_name("load.py"))
    options = ["--rate", str(rate), "--seconds", str(seconds), "--count", str(count)]
    before = server.cpu()
    line = [sys.executable, script, str(server.port), str(photos), *options]
    result: dict[str, Any] = json.loads(subprocess.check_output(line, text=True))
    result["server_cpu"] = server.cpu() - before
    result["answered"] = result["statuses"].get("200", 0)
    return result


def show(name: str, result: dict[str, Any]) -> None:
    """Print one line."""
    refused = {status: number for status, number in result["statuses"].items() if status != "200"}
    speed = result["answered"] / result["wall"]
    slow = ", ".join(f"p{share} {result[f'p{share}']:.0f} ms" for share in (50, 95, 99))
    print(f"{name}: {speed:.0f} img/s, {slow}; refused {refused or 'none'}", flush=True)


def highest_rate(server: Server, photos: Path, count: int) -> float:
    """Raise the rate until something is refused or slow, and return the last that went well."""
    rate, good = 60.0, 0.0
    while True:
        result = load(server, photos, rate, STEP_SECONDS, count)
        show(f"  {rate:.0f} a second", result)
        if set(result["statuses"]) != {"200"} or result["p99"] > TOO_SLOW:
            return good
        good, rate = rate, rate * STEP


def hold(server: Server, photos: Path, rate: float, minutes: float, count: int) -> tuple[float, dict[str, Any]]:
    """Send at a rate for minutes; where something is refused, at a tenth less, until nothing is."""
    while True:
        held = load(server, photos, rate, 60 * minutes, count)
        show(f"{minutes:g} minutes at {rate:.0f} a second", held)
        if set(held["statuses"]) == {"200"}:
            return rate, held
        rate *= 0.9


def classify_cpu(photos: Path, count: int) -> list[float]:
    """Return the CPU seconds a photograph of ``flowers classify --json``, of a few runs, its start left out."""
    found = sorted(photos.rglob("*.jpg"))
    chosen = found[:: max(1, len(found) // count)][:count]
    command = flowers("classify", "--json", *chosen)
    alone = flowers("classify", "--json", chosen[0])
    measure(command)
    pairs = [(measure(command), measure(alone)) for _ in range(CLASSIFY_RUNS)]
    return [(many.cpu - one.cpu) / (len(chosen) - 1) for many, one in pairs]


def main() -> None:
    """Measure all of it and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--count", type=int, default=500)
    arguments = parser.parse_args()
    photos, count = arguments.photos, arguments.count
    plain = classify_cpu(photos, count)
    with serving() as server:
        load(server, photos, 40, 3, count)
        best = highest_rate(server, photos, count)
        start = server.memory()
        rate, held = hold(server, photos, HELD * best, arguments.minutes, count)
        end = server.memory()
        print(f"memory {start:.0f} MiB before, {end:.0f} MiB after")
        ours = held["server_cpu"] / held["answered"]
        print(f"CPU a photograph: {1000 * ours:.2f} ms; classify {spread([1000 * value for value in plain], ' ms')}")
        print(f"share of classify's speed, the client's CPU left out: {statistics.median(plain) / ours:.2f}")
        show("twice the highest rate", load(server, photos, 2 * best, OVERLOAD_SECONDS, count))
        after = load(server, photos, rate, AFTER_SECONDS, count)
        show("right after it", after)
        print(f"the last refusal came {after['last_bad']:.2f} s after the load fell; memory {server.memory():.0f} MiB")


if __name__ == "__main__":
    main()
