"""Fuzz the doors for bytes of strangers with atheris: ``nox -s fuzz [-- SECONDS [TARGET …]]``.

Each target runs in a process of its own, for its share of the seconds. What breaks one is left in ``fuzz-found/``; a
small copy of it belongs into ``tests/fuzz/corpus/TARGET/``, where the ordinary tests run it from then on.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["flowercli", "python_multipart"]):
    from targets import TARGETS, corpus

FOUND = Path("fuzz-found")
ODD = (None, True, -1, 0, 2**63, 1e308, "", "\ud800", "../x", "\0", [], {}, [[]], "9" * 40, 0.5)
# One input: its seconds, and its memory in MiB.
LIMITS = ("-timeout=20", "-rss_limit_mb=1536", "-max_len=65536")


def places(value: object, found: list[tuple[object, object]]) -> list[tuple[object, object]]:
    """Return every place of a value of JSON, as its container and the key in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        places(inner, found)
    return found


def mutate_json(data: bytes, max_size: int, seed: int) -> bytes:
    """Change one value of a JSON document, or what is no JSON byte by byte."""
    dice = random.Random(seed)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return bytes(atheris.Mutate(data, max_size))
    found = places(value, [])
    if not found or dice.random() < 0.1:
        return bytes(atheris.Mutate(data, max_size))
    container, key = dice.choice(found)
    donor, other = dice.choice(found)
    choice = dice.randrange(4)
    if choice == 0:
        del container[key]
    elif choice == 1:
        container[key] = donor[other]
    else:
        container[key] = dice.choice(ODD)
    try:
        return json.dumps(value).encode()[:max_size]
    except (ValueError, RecursionError):  # It holds itself by now.
        return data[:max_size]


def fuzz(name: str, seconds: float) -> None:
    """Be the process of one target."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="flowers-corpus-") as folder:
        for number, seed in enumerate(corpus(name)):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        FOUND.mkdir(exist_ok=True)
        options = [f"-max_total_time={round(seconds)}", *LIMITS, f"-artifact_prefix={FOUND}/{name}-"]
        mutator = {"custom_mutator": mutate_json} if target.is_json else {}
        atheris.Setup([sys.argv[0], *options, folder], target.run, **mutator)
        atheris.Fuzz()


def summary(log: str) -> str:
    """Return executions and the edges of Python code that were reached, as libFuzzer tells them."""
    counts = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+)", log, re.MULTILINE)
    done = re.search(r"Done (\d+) runs", log)
    executions = done[1] if done else counts[-1][0] if counts else "0"
    return f"{int(executions):>10,} executions, {counts[-1][1] if counts else '0'} edges"


def fuzz_all(names: list[str], seconds: float) -> int:
    """Run the targets one after the other and say what came of each."""
    failed = 0
    for name in names:
        started = time.monotonic()
        command = [sys.executable, str(Path(__file__).parent), "--target", name, str(seconds / len(names))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        passed = done.returncode == 0
        failed += not passed
        print(f"{name:12} {summary(done.stderr)}, {time.monotonic() - started:.0f} s{'' if passed else ': FAILED'}")
        if not passed:
            print(done.stdout[-3000:], done.stderr[-3000:], sep="\n")
        sys.stdout.flush()
    return min(failed, 1)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--target"]:
        fuzz(arguments[1], float(arguments[2]))
    else:
        sys.exit(fuzz_all(arguments[1:] or list(TARGETS), float(arguments[0]) if arguments else 120))
