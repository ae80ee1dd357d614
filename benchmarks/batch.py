"""What `flowers classify --out` costs beside plain `flowers classify`, whether its memory is flat, and what kills do.

python benchmarks/batch.py PHOTOS [--work DIR] [--links 10000] [--engine ray] [--model garden]
                                  [--kills 20] [--node-kills 5]

Of a hundred links one leads nowhere, and one is to half a photograph.
Efficiency is the CPU a photograph of `flowers classify --json` over that of the engine, user and system time of all its
processes: wall times say little on a machine that others use. Ray is started with this machine's cores, and its own
processes count.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

from measured import flowers

ENGINES = ("local", "shards", "ray")
SHARDS = 4
# Of each hundred.
NOWHERE, HALF = 33, 66
WITH_RAY = """
import os, subprocess, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": os.cpu_count(), "include_dashboard": False})
code = subprocess.run([*sys.argv[1:], "--address", cluster.address]).returncode
cluster.shutdown()
sys.exit(code)
"""
CLUSTER = Path(__file__).parent.parent / "tests" / "support" / "ray_cluster.py"


def main() -> None:
    """Print a line for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--links", type=int, default=10_000)
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--model", default="garden", help="a small network shows more of what is not the network")
    parser.add_argument("--work", type=Path, help="a folder on the photographs' file system")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--node-kills", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        base = Path(folder)
        if arguments.links:
            photos = hard_links(arguments.photos, base / "photos", arguments.links)
            efficiency(photos, base, arguments.engine or ["local"], arguments.model)
        few = hard_links(arguments.photos, base / "few", 150)
        drivers(few, base, arguments.kills)
        nodes(few, base, arguments.node_kills)


def hard_links(photos: Path, target: Path, count: int) -> Path:
    """Fill a folder with hard links to the photographs, each as often as it takes, and some that cannot be read."""
    found = sorted(photos.resolve().rglob("*.jpg"))
    target.mkdir()
    half = target.parent / f"half-of-{target.name}.jpg"
    half.write_bytes(found[0].read_bytes()[: found[0].stat().st_size // 2])
    for number, photo in enumerate(itertools.islice(itertools.cycle(found), count)):
        link = target / f"{number:06}.jpg"
        if number % 100 == NOWHERE:
            link.symlink_to(target / "nowhere")
        else:
            os.link(half if number % 100 == HALF else photo, link)
    return target


def engine_cost(photos: Path, base: Path, engine: str, model: str) -> tuple[float, float]:
    """Answer all photographs; return CPU seconds and peak memory of a process in MiB."""
    command = flowers("classify", photos, "--model", model, "--out", base / engine)
    if engine == "ray":
        return with_ray_counted([*command, "--engine", "ray"], base)
    runs = [[*command, "--shard", f"{number}/{SHARDS}"] for number in range(1, SHARDS + 1)]
    costs = [cost(run, base / "said") for run in (runs if engine == "shards" else [command])]
    return sum(seconds for seconds, _ in costs), max(peak for _, peak in costs)


def cost(command: list[str], output: Path) -> tuple[float, float]:
    """Run a command; return CPU seconds of it and all processes it waited for, and its own peak memory in MiB."""
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in {0, 3}, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def efficiency(photos: Path, base: Path, engines: list[str], model: str) -> None:
    """Compare engines with plain `classify`, by CPU a photograph, and answers with answers."""
    count = len(list(photos.iterdir()))
    plain, peak = cost(flowers("classify", photos, "--model", model, "--json"), base / "plain.jsonl")
    print(f"flowers classify --json: {1000 * plain / count:.2f} ms of CPU a photograph, {count}, {peak:.0f} MiB")
    for engine in engines:
        place = base / engine
        seconds, peak = engine_cost(photos, base, engine, model)
        print(f"--out, {engine}: {1000 * seconds / count:.2f} ms, efficiency {plain / seconds:.3f}, {peak:.0f} MiB")
        cost(flowers("answers", place, "--format", "json"), base / "answers.jsonl")
        print(f"  the same answers: {(base / 'answers.jsonl').read_bytes() == (base / 'plain.jsonl').read_bytes()}")
        again, _ = cost(flowers("classify", photos, "--model", model, "--out", place), base / "said")
        print(f"  run again: {again:.2f} s of CPU")
    tenth = hard_links(photos, base / "tenth", count // 10)
    _, less = cost(flowers("classify", tenth, "--model", model, "--out", base / "tenth-answers"), base / "said")
    print(f"peak memory of --out, local, for a tenth of them: {less:.0f} MiB")


def with_ray_counted(command: list[str], base: Path) -> tuple[float, float]:
    """Run a command on a Ray of this machine; return CPU seconds of all processes, Ray's too, and the driver's peak.

    Ray does not wait for its processes, so that the system does not add up their time: they are found by a mark in
    their environment and looked at five times a second, until they are gone.
    """
    mark = f"FLOWERS_BENCHMARK={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    # Ray makes its workers nicer than the rest, which is no question here.
    environment = {**os.environ, name: value, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    seconds: dict[str, tuple[str, float]] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            seconds.update(cpu_of(mark.encode()))

    looking = threading.Thread(target=look)
    looking.start()
    with (base / "said").open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", WITH_RAY, *command], stdout=file, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    looking.join()
    assert process.returncode in {0, 3}, command
    by_program: Counter[str] = Counter()
    for program, spent in seconds.values():
        by_program[program] += spent
    print("  of which " + ", ".join(f"{program} {spent:.1f} s" for program, spent in by_program.most_common(6)))
    return by_program.total(), usage.ru_maxrss / 1024


def cpu_of(mark: bytes) -> dict[str, tuple[str, float]]:
    """Return the name and the CPU seconds of each process that has a mark in its environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes():
                program = " ".join((folder / "cmdline").read_text().replace("\0", " ").split()[:3])
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found[folder.name] = program, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def drivers(photos: Path, base: Path, kills: int) -> None:
    """Kill the process at random moments of its run, then let it end, and prove."""
    held = 0
    for number in range(kills):
        place = base / f"driver-{number}"
        command = flowers("classify", photos, "--out", place, "--part-size", 10)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.3, 5))
        process.kill()
        process.wait()
        subprocess.run(command, capture_output=True, check=False)
        held += is_proved(place)
    if kills:
        print(f"{kills} kills of the process: {held} times all answered once, nothing else left")


def nodes(photos: Path, base: Path, kills: int) -> None:
    """Kill one of two nodes of Ray at random moments, and prove."""
    held = 0
    for number in range(kills):
        place = base / f"node-{number}"
        with subprocess.Popen(
            [sys.executable, str(CLUSTER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as cluster:
            assert cluster.stdin is not None
            assert cluster.stdout is not None
            address = cluster.stdout.readline().strip()
            command = flowers("classify", photos, "--out", place, "--part-size", 10, "--engine", "ray")
            driver = subprocess.Popen([*command, "--address", address], stdout=subprocess.DEVNULL)
            while not list(place.glob("*.parquet")):
                time.sleep(0.05)
            time.sleep(random.uniform(0, 2))
            cluster.stdin.write("\n")
            cluster.stdin.flush()
            assert driver.wait() in {0, 3}
        held += is_proved(place)
    if kills:
        print(f"{kills} kills of a node: {held} times all answered once, nothing else left")


def is_proved(place: Path) -> bool:
    """Ask the program whether all is there, and look for what counts and should not."""
    done = subprocess.run(flowers("answers", place, "--json"), capture_output=True, check=False)
    left = list(place.rglob(".partial-*"))
    return done.returncode == 0 and json.loads(done.stdout)["complete"] and not left


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
