"""How large a part should be, and how many shards there should be: a simulation of machines that are slow, or die.

python benchmarks/part_size.py [--photographs 100000000] [--cores 1024] [--per-photograph 0.013] [--deaths 0.05]

Machines have 16 cores; one of ten is slower by half; they die at a rate, lose the part that they are at, and are back
after minutes. On Ray a core takes the next part that nobody has. A shard is a process on a whole machine, which takes
the next shard when it is done. A photograph takes the same time on average, and varies. Reading the plan and writing
the file cost a core of Ray's time; a shard does both beside the work, and takes some seconds to start. Printed is the
work over what the machines were held for until the last part was there, the mean of some runs.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
from dataclasses import dataclass

CORES = 16
SIZES = (200, 500, 1000, 2000, 5000, 10_000, 50_000)
SHARDS_A_MACHINE = (1, 4, 16)
# Standard deviation over mean of the time of a photograph.
SPREAD = 0.5
SLOW_SHARE, SLOWER = 0.1, 1.5
PART_SECONDS, START_SECONDS, BACK_SECONDS = 0.3, 10.0, 180.0


@dataclass
class Machine:
    """How slow it is, and when it dies next."""

    slowness: float
    dies: float

    def work(self, now: float, parts: list[float]) -> tuple[float, list[float]]:
        """Do parts one after the other; return when it is free again, and what is left because it died."""
        for place, seconds in enumerate(parts):
            if now + seconds * self.slowness > self.dies:
                return self.dies + BACK_SECONDS, parts[place:]
            now += seconds * self.slowness
        return now, []


class Cluster:
    """Machines and the queue of their work."""

    def __init__(self, machines: int, deaths: float, generator: random.Random) -> None:
        self._generator, self._rate = generator, deaths / 3600
        slow = [SLOWER if generator.random() < SLOW_SHARE else 1.0 for _ in range(machines)]
        self.machines = [Machine(slowness, self._death(0)) for slowness in slow]

    def _death(self, now: float) -> float:
        return now + self._generator.expovariate(self._rate) if self._rate else math.inf

    def seconds(self, jobs: list[list[float]], at_once: int) -> float:
        """Return how long jobs take, each a list of parts, with so many at once on each machine."""
        free = [(0.0, number) for number in range(len(self.machines)) for _ in range(at_once)]
        idle: list[int] = []
        # What was left, from when it can be taken.
        left: list[tuple[float, list[float]]] = []
        jobs, end = jobs[::-1], 0.0
        while free:
            now, number = heapq.heappop(free)
            machine = self.machines[number]
            if now >= machine.dies:
                machine.dies = self._death(now)
            if not jobs and not left:
                idle.append(number)
                continue
            since, job = (now, jobs.pop()) if jobs else heapq.heappop(left)
            done, rest = machine.work(max(now, since), job)
            heapq.heappush(free, (done, number))
            end = end if rest else max(end, done)
            if rest:
                heapq.heappush(left, (machine.dies, rest))
                if idle:
                    heapq.heappush(free, (machine.dies, idle.pop()))
        return end

    def ideal(self, work: float) -> float:
        """Return how long it would take if every core worked all the time."""
        return work / (CORES * sum(1 / machine.slowness for machine in self.machines))


def parts_of(arguments: argparse.Namespace, size: int, generator: random.Random) -> list[float]:
    """Return the seconds of a core that each part takes: sums of many, so nearly normal."""
    whole, rest = divmod(arguments.photographs, size)
    spread = SPREAD * arguments.per_photograph
    return [
        max(0.0, generator.gauss(count * arguments.per_photograph, spread * math.sqrt(count)))
        for count in [size] * whole + [rest] * bool(rest)
    ]


def efficiency(arguments: argparse.Namespace, size: int, shards: int, seed: int) -> float:
    """Return the ideal over the simulated time; ``shards`` a machine, 0 for Ray."""
    generator = random.Random(seed)
    count = arguments.cores // CORES
    cluster = Cluster(count, arguments.deaths, generator)
    parts = parts_of(arguments, size, generator)
    ideal = cluster.ideal(sum(parts))
    if not shards:
        return ideal / cluster.seconds([[part + PART_SECONDS] for part in parts], CORES)
    share = [[part / CORES for part in parts[number :: shards * count]] for number in range(shards * count)]
    return ideal / cluster.seconds([[START_SECONDS, *job] for job in share], 1)


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=100_000_000)
    parser.add_argument("--cores", type=int, default=1024)
    parser.add_argument("--per-photograph", type=float, default=0.013, help="seconds of a core")
    parser.add_argument("--deaths", type=float, default=0.05, help="of a machine, an hour")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print("| photographs a part | parts | Ray |", " | ".join(f"shards a machine: {n}" for n in SHARDS_A_MACHINE), "|")
    print("|---" * (3 + len(SHARDS_A_MACHINE)) + "|")
    runs = range(arguments.runs)
    for size in SIZES:
        mean = [
            statistics.mean(efficiency(arguments, size, shards, seed) for seed in runs)
            for shards in (0, *SHARDS_A_MACHINE)
        ]
        parts = math.ceil(arguments.photographs / size)
        print(f"| {size:,} | {parts:,} |", " | ".join(f"{value:.2f}" for value in mean), "|", flush=True)


if __name__ == "__main__":
    main()
