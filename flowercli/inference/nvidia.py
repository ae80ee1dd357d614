"""What NVIDIA's driver says of itself and of the GPUs, asked through its own library.

Written against the reference of the CUDA driver API, and not tested on a GPU.
"""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
KERNEL_MODULE = Path("/proc/driver/nvidia/version")
# From cuda.h.
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
NAME_LENGTH = 256


class Gpu(NamedTuple):
    """One device: its name, compute capability and bytes of memory."""

    name: str
    capability: tuple[int, int]
    memory: int


class Driver(NamedTuple):
    """The driver: the newest CUDA that it runs, its devices, and why there are none if it could not start."""

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]
    error: str | None


@cache
def find_driver() -> Driver | None:
    """Load the driver's library and start it; ``None`` where there is no such library."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    try:
        return _ask(library)
    except AttributeError as error:  # A library of that name without the driver's functions.
        return Driver((0, 0), (), f"{LIBRARY} is not NVIDIA's: {error}")


def kernel_module() -> str | None:
    """Return the version of the driver's kernel module, as ``580.65.06``; only Linux tells it so."""
    try:
        text = KERNEL_MODULE.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text)
    return found.group() if found else None


def _ask(library: ctypes.CDLL) -> Driver:
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    cuda = (version.value // 1000, version.value % 1000 // 10)
    if code := library.cuInit(0):
        return Driver(cuda, (), _describe(library, code))
    count = ctypes.c_int()
    if code := library.cuDeviceGetCount(ctypes.byref(count)):
        return Driver(cuda, (), _describe(library, code))
    return Driver(cuda, tuple(_gpu(library, number) for number in range(count.value)), None)


def _describe(library: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    library.cuGetErrorString(code, ctypes.byref(text))
    return f"{(text.value or b'unknown error').decode()} (code {code})"


def _gpu(library: ctypes.CDLL, number: int) -> Gpu:
    device, major, minor, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(NAME_LENGTH)
    library.cuDeviceGet(ctypes.byref(device), number)
    library.cuDeviceGetName(name, NAME_LENGTH, device)
    library.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, device)
    library.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Gpu(name.value.decode(errors="replace"), (major.value, minor.value), memory.value)
