"""What the CPU of this machine can do, and how much of it this process may use."""

from __future__ import annotations

import math
import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from flowercli.errors import UsageError
from flowercli.inference.cgroup import Quota, cpu_quota
from flowercli.shown import one_line

THREADS_VARIABLE = "FLOWERS_THREADS"
ASKED = re.compile("[0-9]{1,9}")
MOST_THREADS, SHOWN = 1024, 40
# Instructions for products of 8-bit integers.
VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})
# Instructions that make bf16 faster than fp32; elsewhere it is emulated, and slower.
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
# What speeds these networks up, and the flags any of which says that it is there.
FEATURES = {"AVX2": frozenset({"avx2"}), "AVX-512": frozenset({"avx512f"}), "VNNI": VNNI_FLAGS, "bf16": BF16_FLAGS}


class Cores(NamedTuple):
    """The cores of this machine and each thing that limits how many of them are used.

    ``affinity`` is how many this process may be scheduled on, ``quota`` the time it gets, ``asked`` the value of
    ``FLOWERS_THREADS``.
    """

    total: int
    affinity: int
    quota: Quota | None
    asked: int | None

    @property
    def usable(self) -> int:
        """How many threads work at once.

        A quota of a core and a half is rounded up: two threads use all of it, one would not.
        """
        return self.asked or max(1, min(self.affinity, math.ceil(self.quota.cores) if self.quota else self.affinity))

    @property
    def limited_by(self) -> str | None:
        """What decides: ``threads``, ``quota``, ``affinity``, or nothing."""
        if self.asked is not None:
            return "threads"
        if self.usable < self.affinity:
            return "quota"
        return "affinity" if self.affinity < self.total else None


def find_cores() -> Cores:
    """Look at the machine, the affinity, the control groups and ``FLOWERS_THREADS``.

    Raises:
        UsageError: the variable is not a whole number of at least one.
    """
    total = os.cpu_count() or 1
    # Only Linux tells the affinity; it includes the sets of processors (cpuset) of containers.
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return Cores(total, affinity, cpu_quota(), _asked_threads())


def available_cores() -> int:
    """Return the number of threads to work with, which a container, ``taskset`` or ``FLOWERS_THREADS`` can set.

    Raises:
        UsageError: ``FLOWERS_THREADS`` is not a whole number of at least one.
    """
    return find_cores().usable


def _asked_threads() -> int | None:
    text = os.environ.get(THREADS_VARIABLE, "").strip()
    if not text:
        return None
    if not ASKED.fullmatch(text) or not 1 <= int(text) <= MOST_THREADS:
        raise UsageError(
            f"{THREADS_VARIABLE}={one_line(text[:SHOWN])}: a whole number from 1 to {MOST_THREADS}.",
            hint=f"unset {THREADS_VARIABLE}   (uses every core)",
        )
    return int(text)


@cache
def cpu_flags() -> frozenset[str]:
    """Return the feature flags of the first x86 CPU that Linux lists; nothing elsewhere."""
    flags = _cpuinfo("flags")
    return frozenset(flags.split()) if flags else frozenset()


def cpu_name() -> str | None:
    """Return what the first CPU that Linux lists is called."""
    return _cpuinfo("model name")


def lacks_vnni() -> bool:
    """Whether this is known to be an x86 CPU without VNNI."""
    return bool(cpu_flags()) and not cpu_flags() & VNNI_FLAGS


def _cpuinfo(field: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    line = next((line for line in lines if line.startswith(field)), "")
    return line.partition(":")[2].strip() or None
