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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
# The CUDA provider loads it at the first convolution.
CUDNN = "libcudnn.so.9"
NVINFER = "libnvinfer.so.10"
# What each provider asks Linux's loader for, the driver's aside; {} is the major version of CUDA.
LIBRARIES = {
    CUDA: ("libcublasLt.so.{}", "libcublas.so.{}", "libcurand.so.10", "libcudart.so.{}", CUDNN),
    TENSORRT: ("libcublas.so.{}", NVINFER, "libnvonnxparser.so.10", "libcudart.so.{}", CUDNN),
}
PROVIDER_FILES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
TENSORRT_LIBRARIES = ("libnvinfer", "libnvonnxparser")
# The modules of NVIDIA's wheels, which load their own libraries.
TENSORRT_MODULES = ("tensorrt", "tensorrt_libs")
# How far from the wanted version of a library others are looked for.
NEIGHBOURS = (1, -1, 2, -2)


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


def load_error(provider: str) -> str | None:
    """Return what onnxruntime says of a provider that does not load, for which its sessions take another unasked."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    file = Path(onnxruntime.__file__).parent / "capi" / PROVIDER_FILES[provider]
    try:
        onnxruntime.register_execution_provider_library(provider, str(file))
    except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions have no other common base)
        return str(error).partition(" with error: ")[2].strip() or None
    return None


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
