"""``flowers tag`` killed at moments by chance, and what is left then: all of it whole, and able to be taken back."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import SAMPLES, command
from support.sidecars import PROGRAMS, ROSE, contents

from flowercli.tagging.xmp import Sidecar

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator


def make_library(folder: Path, copies: int) -> Path:
    """Make a folder of pictures in subfolders, two in three of them with a sidecar of some program."""
    texts = list(PROGRAMS.values())
    for number in range(copies):
        below = folder / f"{number % 3}"
        below.mkdir(parents=True, exist_ok=True)
        for sample in SAMPLES.glob("*.jpg"):
            picture = below / f"{number}-{sample.name}"
            shutil.copy(sample, picture)
            if number % 3:
                sidecar = picture.with_name(f"{picture.name}.xmp")
                sidecar.write_text(texts[number % len(texts)], encoding="utf-8", newline="")
    return folder


def run(*arguments: object) -> None:
    """Run a command to its end; it has to succeed."""
    done = subprocess.run(command(*arguments), check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def kill(library: Path, chance: random.Random, line: tuple[object, ...]) -> bool:
    """Run a command and kill it, most often while it writes; whether it was still running."""
    process = subprocess.Popen(command(*line), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = set(library.glob("undo-*"))
    while process.poll() is None and set(library.glob("undo-*")) == before and "--undo" not in line:
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.6 if "--undo" in line else 0.15))
    process.kill()
    return process.wait() < 0


def receipts(library: Path) -> list[Path]:
    """Return the receipts of a library, the last first."""
    return sorted(library.glob("undo-*"), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def round_of(library: Path, before: dict[str, str], chance: random.Random) -> Iterator[str]:
    """Kill a run, look at what is left, go on, and take all of it back, by a run that is killed too; yield what hits.

    Raises:
        AssertionError: something was lost, half written or left behind.
    """
    yield "tag" if kill(library, chance, ("tag", library)) else "tag was done"
    now = contents(library)
    for name, hash_ in before.items():
        assert name in now, f"{name} is gone"
        assert now[name] == hash_ or Sidecar((library / name).read_bytes()).fields, f"{name} is half written"
    for path in library.rglob("*.xmp"):
        if ".partial-" not in str(path):
            Sidecar(path.read_bytes())
    run("tag", library)
    for path in library.rglob("*.jpg.xmp"):
        assert Sidecar(path.read_bytes()).fields["ModelIdentity"] != ROSE.identity
    assert len(list(library.rglob("*.jpg.xmp"))) == len(list(library.rglob("*.jpg")))
    for receipt in receipts(library):
        yield "undo" if kill(library, chance, ("tag", "--undo", receipt)) else "undo was done"
        if receipt.exists():
            run("undo", receipt)
    after = contents(library)
    assert after == before, sorted(set(after.items()) ^ set(before.items()))[:5]
    assert list(library.rglob(".*")) == [], "something is left behind"
