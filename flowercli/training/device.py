"""Where a training run computes, in which precision, and on how many threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from flowercli.errors import DeviceError
from flowercli.inference.cpu import BF16_FLAGS, cpu_flags, find_cores

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_accelerator(device: str, precision: str) -> Accelerator:
    """Return accelerate's entry to the device, with automatic precision.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        DeviceError: a device was asked for by name and is not there.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    honour_limits()
    kind = resolve_device(device)
    mixed = resolve_precision(precision, kind)
    # It keeps one state a process; a second run in it may want another precision.
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  (there is no public way)
    return Accelerator(cpu=kind == "cpu", mixed_precision="no" if mixed == "fp32" else mixed)


def make_repeatable() -> None:
    """Let cuDNN choose the same algorithms each time; on a CPU nothing is needed. Not tested on a GPU."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def resolve_device(device: str) -> str:
    """Return the kind of device that will be used.

    Raises:
        DeviceError: it was asked for by name and is not there.
    """
    found = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()), ("cpu", True)]
    if device == "auto":
        return next(kind for kind, present in found if present)
    if not dict(found)[device]:
        message = f"device={device}: torch {torch.__version__} finds no such device on this machine."
        raise DeviceError(message, hint="flowers train device=cpu …")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """Return the precision that will be used: where it was left open, the fastest that keeps the range of fp32."""
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device == "cpu" and BF16_FLAGS & cpu_flags() else "fp32"


def honour_limits() -> None:
    """Let torch compute on as many threads as ``FLOWERS_THREADS`` says, and no more than a container's quota allows.

    Raises:
        UsageError: the variable is not a whole number of at least one.
    """
    cores = find_cores()
    torch.set_num_threads(cores.asked or min(torch.get_num_threads(), cores.usable))


def share_cores(processes: int) -> None:
    """Let each of the processes that train on this machine compute on its share of the cores, where nothing is asked.

    Raises:
        UsageError: ``FLOWERS_THREADS`` is not a whole number of at least one.
    """
    cores = find_cores()
    torch.set_num_threads(cores.asked or max(1, min(torch.get_num_threads(), cores.usable // processes)))
