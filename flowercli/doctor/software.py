"""The packages: versions, wheels of onnxruntime that break each other, extras that are there or not.

All but onnxruntime is read from the packages' metadata: importing torch would take seconds.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator

from flowercli import __version__
from flowercli.doctor.checks import Check, Status
from flowercli.errors import DeviceError
from flowercli.inference.probe import cuda_major, has_gpu_wheel, import_onnxruntime, reinstall
from flowercli.installation import add_extra, install
from flowercli.standalone import version_of

PACKAGE = "flowercli"
NEEDED = ("numpy", "pillow", "huggingface-hub")
OPTIONAL = ("torch", "timm", "mlflow", "tensorrt")
# Distributions that all install the package `onnxruntime`, over each other.
ONNXRUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-training",
    "ort-nightly",
    "ort-nightly-gpu",
)
GPU_EXTRAS = ("gpu", "tensorrt")
# "name[extra,extra]>=1; … extra == 'x'", as metadata writes requirements.
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)\s*(?:\[(?P<extras>[^\]]*)\])?")
OF_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")


def versions() -> Iterator[Check]:
    """Yield the version of the program, of Python, and of each package that matters."""
    yield Check(PACKAGE, Status.OK, __version__, values={"version": __version__})
    system = f"{platform.python_implementation()} on {platform.platform()}"
    python = platform.python_version()
    yield Check("python", Status.OK, f"{python}, {system}", values={"version": python, "executable": sys.executable})
    for name in NEEDED:
        found = version_of(name)
        fix = install("--force-reinstall", PACKAGE)
        status = Status.OK if found else Status.PROBLEM
        yield Check(name, status, found or "not installed", None if found else fix, values={"version": found})
    yield from wheels()
    for name in OPTIONAL:
        found = version_of(name)
        yield Check(name, Status.OK if found else Status.NOTE, found or "not installed", values={"version": found})


def wheels() -> Iterator[Check]:
    """Yield which onnxruntime is installed, and whether another one lies over it."""
    found = {name: version for name in ONNXRUNTIMES if (version := version_of(name))}
    names = " and ".join(f"{name} {version}" for name, version in found.items())
    values = {"installed": found}
    if len(found) > 1:
        text = f"{names} are both installed, and each has overwritten files of the other: keep exactly one"
        yield Check("onnxruntime", Status.WARNING, text, reinstall(tuple(found)), values=values)
    elif not found:
        yield Check("onnxruntime", Status.PROBLEM, "not installed", reinstall(), values=values)
    elif has_gpu_wheel() and "onnxruntime-gpu" not in found:
        text = f"{names}, without NVIDIA GPUs; onnxruntime-gpu runs on the CPU as well"
        yield Check("onnxruntime", Status.NOTE, text, reinstall(tuple(found)), values=values)
    else:
        yield Check("onnxruntime", Status.OK, names, values=values)


def providers() -> Iterator[Check]:
    """Yield whether onnxruntime can be imported, and the execution providers that it is built with."""
    try:
        module = import_onnxruntime()
    except DeviceError as error:
        yield Check("import", Status.PROBLEM, error.message, error.hint)
        return
    built, names = cuda_major(), module.get_available_providers()
    shown = ", ".join(name.removesuffix("ExecutionProvider") for name in names)
    text = f"onnxruntime {module.__version__}, built with {shown}" + (f"; for CUDA {built}" if built else "")
    yield Check("providers", Status.OK, text, values={"version": module.__version__, "providers": names, "cuda": built})


def extras() -> Iterator[Check]:
    """Yield which extras are complete, and the command that adds each of the others.

    Only names are compared: pip holds the versions.
    """
    try:
        known = importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            "extras", Status.NOTE, "not known: the program runs from its source, uninstalled", "pip install -e ."
        )
        return
    for extra in known:
        missing = sorted(missing_packages(PACKAGE, extra))
        values = {"missing": missing}
        if extra in GPU_EXTRAS and not has_gpu_wheel():
            yield Check(extra, Status.NOTE, "not for this platform", values=values)
        elif missing:
            fix = add_extra(extra)
            yield Check(extra, Status.NOTE, f"not installed: {', '.join(missing)}", fix, values=values)
        else:
            yield Check(extra, Status.OK, "installed", values=values)


def missing_packages(package: str, extra: str) -> set[str]:
    """Return the packages that an extra asks for and that are not installed, those of its own extras included."""
    missing = set()
    for line in importlib.metadata.requires(package) or []:
        requirement, of_extra = REQUIREMENT.match(line), OF_EXTRA.search(line)
        if requirement is None or of_extra is None or of_extra.group(1) != extra:
            continue
        name, more = requirement["name"], (requirement["extras"] or "").split(",")
        if version_of(name) is None and name != package:
            missing.add(name)
        else:
            missing.update(*(missing_packages(name, other.strip()) for other in more if other.strip()))
    return missing
