"""Other machines than this one, made of real things: libraries, packages, control groups, affinities."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flowercli.inference.libraries import CUDA, TENSORRT
from flowercli.inference.probe import cuda_major, provider_libraries

SYSTEM_GROUPS = Path("/sys/fs/cgroup")
# As much of NVIDIA's driver as is asked for: what it answers is set when it is compiled.
DRIVER = """
#include <stddef.h>
#include <string.h>
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuInit(unsigned flags) { return START; }
int cuGetErrorString(int code, const char **text) { *text = "no CUDA-capable device is detected"; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Toy GPU", length); return 0; }
int cuDeviceGetAttribute(int *value, int what, int device) { *value = what == 75 ? CAPABILITY : 0; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t) 8 << 30; return 0; }
"""

# As much of TensorRT's library: which version it is.
NVINFER = "int getInferLibVersion(void) { return VERSION; }"

linux = pytest.mark.skipif(sys.platform != "linux", reason="simulated with Linux's loader and scheduler")


def compile_library(path: Path, source: str = "", **values: int) -> None:
    """Compile a shared library with these macros defined."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    path.parent.mkdir(parents=True, exist_ok=True)
    macros = [f"-D{name}={value}" for name, value in values.items()]
    subprocess.run(
        [compiler, "-shared", "-fPIC", *macros, "-x", "c", "-", "-o", path], input=source, text=True, check=True
    )


def with_libraries(folder: Path) -> dict[str, str]:
    """Return an environment in which the loader finds what lies in the folder."""
    return {**os.environ, "LD_LIBRARY_PATH": str(folder)}


def with_packages(folder: Path) -> dict[str, str]:
    """Return an environment in which Python finds what lies in the folder before anything else."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def toy_gpu(folder: Path, tensorrt: int = 101600) -> dict[str, str]:
    """Make every library that a GPU session asks for, none of which can compute; return the environment with them."""
    for name in {*provider_libraries(CUDA), *provider_libraries(TENSORRT)}:
        if not name.startswith(("libcu", "libnv")):
            continue
        version = {"VERSION": tensorrt} if name.startswith("libnvinfer.so") else {}
        compile_library(folder / name, NVINFER if version else "", **version)
    compile_library(folder / "libcuda.so.1", DRIVER, VERSION=1000 * (cuda_major() or 0), START=0, CAPABILITY=9)
    return with_libraries(folder)


@contextlib.contextmanager
def one_core():
    """Let this process, and those it starts, be scheduled on one core only."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("this machine gives one core anyway")
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def time_of_one_core():
    """Yield the file that moves a process into a new control group which gets the time of one core."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("this machine has one core anyway")
    new = (SYSTEM_GROUPS / "cpu" if (SYSTEM_GROUPS / "cpu").is_dir() else SYSTEM_GROUPS) / f"flowers-test-{os.getpid()}"
    try:
        new.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        try:
            if (new / "cpu.cfs_quota_us").exists():
                (new / "cpu.cfs_quota_us").write_text("100000")
            else:
                (new / "cpu.max").write_text("100000 100000")
        except OSError as error:
            pytest.skip(f"the control group takes no quota: {error}")
        yield new / "cgroup.procs"
    finally:
        new.rmdir()
