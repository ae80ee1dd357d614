"""What a session on TensorRT or CUDA needs, and which of it this machine lacks.

Each device has a list of obstacles that is made while it is read: who only wants to know whether the device will do
takes the first and pays for no more. The order is from the cheapest and most fundamental on.
Written against the documentation of onnxruntime, CUDA and TensorRT, and not tested on a GPU.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import sys
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, NamedTuple

from flowercli import onnxruntime_quietly
from flowercli.errors import DeviceError
from flowercli.inference.libraries import (
    CUDA,
    LIBRARIES,
    TENSORRT,
    TENSORRT_LIBRARIES,
    TENSORRT_MODULES,
    library_problem,
    other_version,
    preload_cuda,
    preload_tensorrt,
)
from flowercli.inference.nvidia import LIBRARY, Driver, find_driver
from flowercli.installation import add_extra, install, uninstall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAMES = {CUDA: "CUDA", TENSORRT: "TensorRT"}
# By the major version of CUDA: the first driver for it, and the least compute capability it still supports.
FIRST_DRIVER = {12: 525, 13: 580}
LEAST_CAPABILITY = {12: (5, 0), 13: (7, 5)}

INSTALL_DRIVER = "nvidia-smi   (if it lists no GPU, install NVIDIA's driver; in a container: docker run --gpus all …)"


class Obstacle(NamedTuple):
    """One thing a device lacks: the reason it cannot be used, and what to type."""

    reason: str
    fix: str


def import_onnxruntime() -> Any:
    """Import onnxruntime, which two of its wheels in one environment can break.

    Raises:
        DeviceError: it cannot be imported, or only in part.
    """
    with interrupts_held():
        try:
            onnxruntime = onnxruntime_quietly.import_onnxruntime()
        except Exception as error:  # What a broken build raises is of any kind.
            raise DeviceError(f"onnxruntime cannot be imported: {error}.", hint=reinstall()) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise DeviceError("onnxruntime is only there in part.", hint=reinstall())
    return onnxruntime


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C take effect at the end of the block: in its middle, what loads says that it is broken."""
    if current_thread() is not main_thread():  # Another is never interrupted.
        yield
        return
    held: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if held:
            signal.raise_signal(signal.SIGINT)


def cuda_obstacles() -> Iterator[Obstacle]:
    """Yield what a session on CUDA lacks here."""
    yield from wheel_obstacles(CUDA)
    yield from driver_obstacles()
    yield from library_obstacles(CUDA)


def tensorrt_obstacles() -> Iterator[Obstacle]:
    """Yield what a session on TensorRT lacks here."""
    yield from wheel_obstacles(TENSORRT)
    yield from driver_obstacles()
    yield from library_obstacles(TENSORRT)


def wheel_obstacles(provider: str) -> Iterator[Obstacle]:
    """Yield an obstacle if the installed onnxruntime is built without the provider."""
    if provider in import_onnxruntime().get_available_providers():
        return
    fix = (
        reinstall() if has_gpu_wheel() else f"none: onnxruntime-gpu is not made for {sys.platform} {platform.machine()}"
    )
    yield Obstacle(f"this onnxruntime is built without {NAMES[provider]}", fix)


def has_gpu_wheel() -> bool:
    """Whether onnxruntime-gpu is published for this platform."""
    return (sys.platform, platform.machine()) in {("linux", "x86_64"), ("win32", "AMD64")}


def reinstall(installed: Sequence[str] = ("onnxruntime", "onnxruntime-gpu")) -> str:
    """Return the command that leaves the one wheel of onnxruntime that is right for this platform."""
    right = "onnxruntime-gpu" if has_gpu_wheel() else "onnxruntime"
    return f"{uninstall(*installed)} && {install(right)}"


def driver_obstacles() -> Iterator[Obstacle]:
    """Yield what is wrong with the driver or the devices."""
    driver = find_driver()
    if driver is None:
        yield Obstacle(f"no NVIDIA driver ({LIBRARY} not found)", INSTALL_DRIVER)
    elif driver.error is not None or not driver.gpus:
        yield _no_device(driver)
    elif (built := cuda_major()) is not None:
        yield from _too_old(driver, built)


def _no_device(driver: Driver) -> Obstacle:
    reason = f"the NVIDIA driver finds no GPU: {driver.error or 'it counts none'}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return Obstacle(reason, INSTALL_DRIVER)
    return Obstacle(f"{reason}; CUDA_VISIBLE_DEVICES is '{visible}'", "unset CUDA_VISIBLE_DEVICES")


def _too_old(driver: Driver, built: int) -> Iterator[Obstacle]:
    if driver.cuda[0] < built:
        runs = ".".join(map(str, driver.cuda))
        fix = f"Update NVIDIA's driver to {FIRST_DRIVER.get(built, 'a newer one')} or later."
        yield Obstacle(f"the NVIDIA driver runs CUDA up to {runs}, this onnxruntime is built for CUDA {built}", fix)
    least, gpu = LEAST_CAPABILITY.get(built, (0, 0)), driver.gpus[0]
    if gpu.capability < least:
        has, needs = (".".join(map(str, version)) for version in (gpu.capability, least))
        reason = f"{gpu.name} has compute capability {has}, CUDA {built} needs {needs}"
        yield Obstacle(reason, "flowers classify --device cpu")


def cuda_major() -> int | None:
    """Return the major version of CUDA that onnxruntime is built for; ``None`` where it is built without."""
    version = import_onnxruntime().cuda_version
    return int(version.partition(".")[0]) if version else None


def provider_libraries(provider: str) -> list[str]:
    """Return the libraries that a provider needs; none on systems other than Linux, where its session has to tell."""
    built = cuda_major() if sys.platform == "linux" else None
    return [] if built is None else [name.format(built) for name in LIBRARIES[provider]]


def library_obstacles(provider: str) -> Iterator[Obstacle]:
    """Yield what the provider's libraries lack: first those of CUDA and cuDNN, then those of TensorRT."""
    names = provider_libraries(provider)
    preload_cuda()
    cuda = [name for name in names if not name.startswith(TENSORRT_LIBRARIES)]
    if missing := [f"{name} {problem}" for name in cuda if (problem := library_problem(name))]:
        yield Obstacle(", ".join(missing), add_extra("gpu"))
    rest = [name for name in names if name.startswith(TENSORRT_LIBRARIES)]
    if rest:
        preload_tensorrt()
    for name in rest:
        if problem := library_problem(name):
            yield _no_tensorrt(name, problem)
            return


def _no_tensorrt(name: str, problem: str) -> Obstacle:
    other = other_version(name)
    if other is None:
        return Obstacle(f"TensorRT {_version(name)} is not there: {name} {problem}", add_extra("tensorrt"))
    reason = f"found TensorRT {_version(other)} ({other}), this onnxruntime links TensorRT {_version(name)} ({name})"
    installed = any(importlib.util.find_spec(module) for module in TENSORRT_MODULES)
    fix = add_extra("tensorrt")
    return Obstacle(reason, f"{uninstall('tensorrt')} && {fix}" if installed else fix)


def _version(library: str) -> str:
    return library.rsplit(".", 1)[1]
