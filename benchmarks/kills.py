"""Kill commands that write, half of them within a write, and look at what is left: all of it whole, or nothing.

python benchmarks/kills.py [--kills 200] [--at-once 2] [--only merge]

Each command runs on a slow disk (``slow_disk.py``), so that a kill can be aimed. After it, the same command runs as its
user would run it again: it has to succeed, and to leave nothing half-written beside its target.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from measured import flowers
from slow_disk import BEGIN, END, HELD
from whole_or_absent import BEFORE, COMMANDS, HALF, SAMPLES, WHOLE, contents, make_base, state

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support.archive_server import archive_server

if TYPE_CHECKING:
    from whole_or_absent import Command, Contents

READY = re.compile(r"Ready: (\S+)")
SLOW = str(Path(__file__).with_name("slow_disk.py"))
KILLS, HIT, WENT_ON, BESIDE, ELSEWHERE = "kills", "in a write", "went on", "left beside", "left in TMPDIR"
TITLES = (KILLS, HIT, WHOLE, BEFORE, HALF, WENT_ON, BESIDE, ELSEWHERE)
REFUSED = "exists already"
LAST = 3


@dataclass(frozen=True)
class Alone:
    """What a run that nobody kills did: its writes, its seconds, and what is in its target then."""

    writes: int
    seconds: float
    contents: Contents


class Running:
    """A command in a process of its own, and what it says on stderr."""

    def __init__(self, line: list[str], folder: Path, *pipes: int) -> None:
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        own = {"FLOWERS_HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        self.process = subprocess.Popen(
            line, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            pass_fds=pipes, start_new_session=True,
        )  # fmt: skip
        self.said = ""
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        """Read stderr; a server that is ready is asked some times, and told to end."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if found := READY.search(line):
                with contextlib.suppress(OSError):
                    for _ in range(5):
                        ask(found[1])
                self.process.terminate()

    def wait(self) -> int:
        """Return the exit code, when nothing of it is left."""
        code = self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._listener.join()
        return code


def ask(url: str) -> None:
    """Ask a server about a picture."""
    body = (SAMPLES / "rose.jpg").read_bytes()
    request = urllib.request.Request(f"{url}/v1/classify", body, {"Content-Type": "image/jpeg"})  # noqa: S310  (ours)
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        answer.read()


def run_slowly(arguments: list[str], folder: Path, held: int = 0, seconds: float | None = None) -> tuple[int, bytes]:
    """Run a command on the slow disk, kill it where a write is held or after the seconds; its code and its marks."""
    reading, writing = os.pipe()
    running = Running([sys.executable, SLOW, str(writing), str(held), *arguments], folder, writing)
    os.close(writing)
    timer = threading.Timer(seconds or 0, running.process.kill)
    if seconds is not None:
        timer.start()
    marks = b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while mark := pipe.read(1):
            marks += mark
            if mark == HELD:
                running.process.kill()
    code = running.wait()
    timer.cancel()
    return code, marks


class Benchmark:
    """The rounds, what they need, and what came of them."""

    def __init__(self, base: Path, url: str) -> None:
        self.base, self.url = base, url
        self.alone: dict[str, Alone] = {}
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COMMANDS}
        self.wrong: list[str] = []

    def measure(self, name: str) -> None:
        """Let a command run to its end.

        Raises:
            RuntimeError: it failed.
        """
        folder, command = Path(tempfile.mkdtemp(dir=self.base)), COMMANDS[name]
        self._prepare(command, folder, chance=0)
        started = time.monotonic()
        code, marks = run_slowly(command.arguments(self.base, folder, self.url), folder)
        if code:
            raise RuntimeError(f"{name} exited with {code}")
        self.alone[name] = Alone(marks.count(BEGIN), time.monotonic() - started, contents(folder / command.target))

    def round(self, name: str, *, aimed: bool) -> None:
        """Kill a command once, and run it again; one that has ended before is started anew."""
        command, alone = COMMANDS[name], self.alone[name]
        code = 0
        while code != -signal.SIGKILL:
            folder = Path(tempfile.mkdtemp(dir=self.base))
            self._prepare(command, folder, chance=1 / 2)
            before = contents(folder / command.target)
            # Half of them among the last, which put the target in its place.
            first = random.choice((1, max(1, alone.writes - LAST)))
            held = random.randint(first, alone.writes) if aimed else 0
            seconds = None if aimed else random.uniform(0.1, alone.seconds)
            code, marks = run_slowly(command.arguments(self.base, folder, self.url), folder, held, seconds)
        left = state(command, folder / command.target, before, alone.contents)
        self.counts[name][KILLS] += 1
        self.counts[name][HIT] += marks.count(BEGIN) > marks.count(END)
        self.counts[name][left.partition(":")[0]] += 1
        if left.startswith(HALF):
            self.wrong.append(f"{name}: {left}")
        self._go_on(name, folder, left)

    def _go_on(self, name: str, folder: Path, left: str) -> None:
        """Run a command again after a kill; one that wrote its new folder may say so."""
        command, counts = COMMANDS[name], self.counts[name]
        killed = contents(folder / command.target) if not left.startswith(HALF) else {"answers": 0}
        again = Running(flowers(*command.arguments(self.base, folder, self.url)), folder)
        code = again.wait()
        ended = state(command, folder / command.target, killed, self.alone[name].contents)
        done = code == 0 or (left == WHOLE and REFUSED in again.said)
        if done and (ended == WHOLE or left == WHOLE == ended.replace(BEFORE, WHOLE)):
            counts[WENT_ON] += 1
        else:
            self.wrong.append(f"{name}: after {left} it exits with {code} and is {ended}: {again.said[-300:]}")
        found = (path.relative_to(folder) for path in folder.rglob(".partial-*"))
        beside = [str(path) for path in found if path.parts[0] != "tmp"]
        counts[BESIDE] += bool(beside)
        counts[ELSEWHERE] += any((folder / "tmp").iterdir())
        self.wrong += [f"{name}: after {left} it leaves {', '.join(beside)}"] if beside else []
        shutil.rmtree(folder)

    def _prepare(self, command: Command, folder: Path, chance: float) -> None:
        """Put an earlier target there: a bundle always, others by chance, where there is one."""
        earlier = self.base / "earlier" / command.target
        if earlier.is_dir():
            shutil.copytree(earlier, folder / command.target)
        elif earlier.exists() and random.random() < chance:
            shutil.copyfile(earlier, folder / command.target)


def main() -> int:
    """Print what was left of the commands that were killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--only", action="append", choices=COMMANDS)
    arguments = parser.parse_args()
    names = arguments.only or [*COMMANDS]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        with archive_server({"/flowers.tar": make_base(base)}) as server, ThreadPoolExecutor(arguments.at_once) as pool:
            benchmark = Benchmark(base, server.address)
            list(pool.map(benchmark.measure, names))
            rounds = [(names[i % len(names)], i // len(names) % 2 == 0) for i in range(arguments.kills)]
            list(pool.map(lambda one: benchmark.round(one[0], aimed=one[1]), rounds))
    return report(benchmark)


def report(benchmark: Benchmark) -> int:
    """Print a row for each command, all together, and what is wrong."""
    total: Counter[str] = sum(benchmark.counts.values(), Counter())
    print(" | ".join(("command", *TITLES)))
    for name, counts in {**benchmark.counts, "all": total}.items():
        if counts[KILLS]:
            print(" | ".join((name, *(str(counts[title]) for title in TITLES))))
    for wrong in benchmark.wrong:
        print(wrong)
    return 1 if benchmark.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
