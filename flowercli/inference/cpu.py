"""What the CPU of this machine can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

# Instructions for products of 8-bit integers.
VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})


@cache
def cpu_flags() -> frozenset[str]:
    """Return the feature flags of the first x86 CPU that Linux lists; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


def lacks_vnni() -> bool:
    """Whether this is known to be an x86 CPU without VNNI."""
    return bool(cpu_flags()) and not cpu_flags() & VNNI_FLAGS
