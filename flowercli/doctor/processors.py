"""The processors: what the CPU can do and how many of its cores are used, and the way to the GPU, link by link."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from flowercli.doctor.checks import Check, Status
from flowercli.inference.cpu import FEATURES, THREADS_VARIABLE, Cores, cpu_flags, cpu_name, find_cores
from flowercli.inference.libraries import (
    CUDA,
    CUDNN,
    TENSORRT,
    TENSORRT_LIBRARIES,
    library_problem,
    other_version,
    preload_cuda,
)
from flowercli.inference.nvidia import LIBRARY, Gpu, find_driver, kernel_module
from flowercli.inference.probe import driver_obstacles, library_obstacles, provider_libraries
from flowercli.installation import add_extra
from flowercli.standalone import version_of

PCI = Path("/sys/bus/pci/devices")
NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASSES = ("0x03",)
TENSORRT_WHEELS = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")

MORE_TIME = "docker run --cpus={total} …   (Kubernetes: resources.limits.cpu; systemd: CPUQuota={percent}%)"
MORE_CORES = "taskset -c 0-{last} flowers …   (in a container: docker run --cpuset-cpus=0-{last} …)"


def gpu() -> Iterator[Check]:
    """Yield each link, complete or not; where there is no GPU at all, what is missing is only a note."""
    driver, present = find_driver(), has_nvidia_card()
    missing = Status.WARNING if present or (driver and driver.gpus) else Status.NOTE
    yield _devices(driver.gpus if driver else (), present=present)
    yield _driver(missing)
    if not provider_libraries(CUDA):
        yield Check("CUDA", Status.NOTE, "not asked for by this onnxruntime, or not to be read on this system")
        return
    preload_cuda()
    yield _libraries("CUDA", [name for name in provider_libraries(CUDA) if name != CUDNN], missing)
    yield _libraries("cuDNN", [CUDNN], missing)
    yield _tensorrt()


def has_nvidia_card() -> bool:
    """Whether a card of NVIDIA is plugged in, with or without a driver; only Linux tells."""
    for device in PCI.glob("*"):
        try:
            vendor = (device / "vendor").read_text(encoding="ascii").strip()
            kind = (device / "class").read_text(encoding="ascii")
        except OSError:
            continue
        if vendor == NVIDIA_VENDOR and kind.startswith(DISPLAY_CLASSES):
            return True
    return False


def _devices(gpus: tuple[Gpu, ...], *, present: bool) -> Check:
    if not gpus:
        text = "an NVIDIA card is plugged in, but no driver gives access to it" if present else "no NVIDIA GPU"
        return Check("GPU", Status.WARNING if present else Status.NOTE, text, values={"devices": []})
    texts = [f"{gpu.name} (compute capability {_dotted(gpu.capability)}, {gpu.memory / 2**30:.0f} GiB)" for gpu in gpus]
    devices = [{"name": gpu.name, "capability": _dotted(gpu.capability), "memory": gpu.memory} for gpu in gpus]
    return Check("GPU", Status.OK, "; ".join(texts), values={"devices": devices})


def _driver(missing: Status) -> Check:
    driver, module = find_driver(), kernel_module()
    values = {"cuda": _dotted(driver.cuda) if driver else None, "version": module}
    if obstacle := next(driver_obstacles(), None):
        return Check(
            "driver", missing if driver is None else Status.WARNING, obstacle.reason, obstacle.fix, values=values
        )
    text = f"{module or LIBRARY}, runs CUDA up to {values['cuda']}"
    return Check("driver", Status.OK, text, values=values)


def _libraries(name: str, wanted: list[str], missing: Status) -> Check:
    problems = {library: problem for library in wanted if (problem := library_problem(library))}
    own = [library for library in wanted if library.startswith("libcu")]
    values = {"wanted": own, "problems": problems}
    if not problems:
        return Check(name, Status.OK, f"{', '.join(own)} load", values=values)
    text = "; ".join(f"{library} {problem}" for library, problem in problems.items())
    return Check(name, missing, text, add_extra("gpu"), values=values)


def _tensorrt() -> Check:
    obstacles = [o for o in library_obstacles(TENSORRT) if "TensorRT" in o.reason]
    wanted = [library for library in provider_libraries(TENSORRT) if library.startswith(TENSORRT_LIBRARIES)]
    installed = next((f"{name} {found}" for name in TENSORRT_WHEELS if (found := version_of(name))), None)
    other = next((found for library in wanted if (found := other_version(library))), None) if obstacles else None
    values = {"wanted": wanted, "installed": installed, "other": other}
    if not wanted:
        return Check("TensorRT", Status.NOTE, "this onnxruntime is built without it", values=values)
    if not obstacles:
        return Check("TensorRT", Status.OK, f"{', '.join(wanted)} load ({installed or 'not from pip'})", values=values)
    # Another version was put there by somebody who wanted it used; none at all is the usual case.
    status = Status.WARNING if other or installed else Status.NOTE
    return Check("TensorRT", status, obstacles[0].reason, obstacles[0].fix, values=values)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def cpu() -> Iterator[Check]:
    """Yield the instructions that matter and the cores."""
    yield _features()
    yield _cores(find_cores())


def _features() -> Check:
    flags, name = cpu_flags(), cpu_name() or platform.processor() or platform.machine()
    if not flags:
        text = f"{name}; which instructions it has is only known of x86 on Linux"
        return Check("features", Status.NOTE, text, values={"name": name, "features": None})
    has = {feature: bool(any_of & flags) for feature, any_of in FEATURES.items()}
    shown = ", ".join(feature if there else f"no {feature}" for feature, there in has.items())
    values = {"name": name, "features": has}
    if has["VNNI"]:
        return Check("features", Status.OK, f"{name}: {shown}", values=values)
    text = f"{name}: {shown}; without VNNI the int8 model takes longer"
    return Check("features", Status.NOTE, text, values=values)


def _cores(cores: Cores) -> Check:
    quota = cores.quota
    values = {
        "usable": cores.usable,
        "total": cores.total,
        "affinity": cores.affinity,
        "quota": quota and quota.cores,
        "quota_file": quota and str(quota.file),
        "threads": cores.asked,
        "limited_by": cores.limited_by,
    }
    of = f"{cores.usable} of {cores.total}"
    if cores.limited_by == "threads":
        return Check(
            "cores", Status.OK, f"{of}: {THREADS_VARIABLE} says so", f"unset {THREADS_VARIABLE}", values=values
        )
    if cores.limited_by == "quota" and quota:
        text = f"{of}: the control group's quota is the time of {quota.cores:g} ({quota.file})"
        fix = MORE_TIME.format(total=cores.total, percent=100 * cores.total)
        return Check("cores", Status.WARNING, text, fix, values=values)
    if cores.limited_by == "affinity":
        text = f"{of}: the affinity of this process allows no more (taskset, or a container's set of processors)"
        return Check("cores", Status.WARNING, text, MORE_CORES.format(last=cores.total - 1), values=values)
    return Check("cores", Status.OK, f"{of}: nothing limits them", values=values)
