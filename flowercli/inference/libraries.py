"""The libraries that a provider of onnxruntime needs: which they are, and whether the loader finds them.

Written against the documentation of onnxruntime and TensorRT, and not tested on a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.inference.elf import needed_libraries
from flowercli.inference.nvidia import LIBRARY

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDER_FILES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
# The CUDA provider loads it at the first convolution, so it is not on its list.
CUDNN = "libcudnn.so.9"
TENSORRT_LIBRARIES = ("libnvinfer", "libnvonnxparser")
# The modules of NVIDIA's wheels, which load their own libraries.
TENSORRT_MODULES = ("tensorrt", "tensorrt_libs")
# How far from the wanted version of a library others are looked for.
NEIGHBOURS = (1, -1, 2, -2)


@cache
def provider_libraries(provider: str) -> tuple[str, ...]:
    """Return the libraries that a provider asks the loader for, the driver's aside.

    Read from the provider's own file; nothing on systems other than Linux, where the session's creation has to tell.
    """
    # Not imported: where it cannot be, this is still worth knowing.
    spec = importlib.util.find_spec("onnxruntime")
    try:
        folder = Path(next(iter((spec and spec.submodule_search_locations) or ()))) / "capi"
        names = needed_libraries(folder / PROVIDER_FILES[provider])
    except (OSError, StopIteration):
        return ()
    return tuple(dict.fromkeys([name for name in names if name != LIBRARY] + ([CUDNN] if names else [])))


@cache
def preload_cuda() -> None:
    """Load the libraries of the nvidia wheels, so that the provider finds them by name."""
    with _silence():
        importlib.import_module("onnxruntime").preload_dlls()


@cache
def preload_tensorrt() -> None:
    """Import TensorRT's Python package, which loads its libraries, so that the provider finds them by name."""
    for module in TENSORRT_MODULES:
        if importlib.util.find_spec(module):
            with _silence():
                importlib.import_module(module)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what libraries print off stdout, which is for answers, and let a failed load speak through what it lacks."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        yield


@cache
def library_problem(name: str) -> str | None:
    """Load a library as the loader would for the provider, and return what went wrong."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        if not str(error).startswith(f"{name}: cannot open shared object file: No such file"):
            return f"does not load ({error})"
        other = other_version(name)
        return "not found" if other is None else f"not found ({other} is there)"
    return None


def other_version(name: str) -> str | None:
    """Return the library of the same name and another major version that is found instead of this one."""
    stem, version = name.rsplit(".", 1)
    if not version.isdecimal():
        return None
    for step in NEIGHBOURS:
        candidate = f"{stem}.{int(version) + step}"
        if _is_packaged(candidate) or _loads(candidate):
            return candidate
    return None


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _is_packaged(name: str) -> bool:
    """Whether NVIDIA's wheel of TensorRT holds the file."""
    spec = importlib.util.find_spec(TENSORRT_MODULES[1])
    return any((Path(folder) / name).is_file() for folder in (spec and spec.submodule_search_locations) or ())
