"""Memory of the host from which a GPU copies without a detour: pages that the system may not move, "pinned" ones.

Not tested on a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.inference.libraries import CUDA, PROVIDER_FILES
from flowercli.inference.probe import import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def host_pixels(shape: Sequence[int], device: str) -> tuple[npt.NDArray[np.uint8], Any]:
    """Return an array for pixels in memory of the host, and what owns that memory, to be kept as long.

    Args:
        shape: of the array.
        device: what copies from there, as onnxruntime calls it: ``cpu`` or ``cuda``.
    """
    memory = _memory_of_gpu() if device == "cuda" else None
    where = {} if memory is None else {"memory_info": memory}  # Which onnxruntime 1.24 does not take.
    value = import_onnxruntime().OrtValue.ortvalue_from_shape_and_type(list(shape), np.uint8, **where)
    array = np.ctypeslib.as_array(ctypes.cast(value.data_ptr(), ctypes.POINTER(ctypes.c_uint8)), tuple(shape))
    return array, value


def is_pinned() -> bool:
    """Whether onnxruntime gives such memory here."""
    return _memory_of_gpu() is not None


@cache
def _memory_of_gpu() -> Any:
    """Return what onnxruntime calls the memory of the host that the GPU reaches; ``None`` stands for ordinary memory.

    It tells of the devices of libraries that are registered alone; one that does not register leaves ordinary memory.
    """
    ort = import_onnxruntime()
    for register in (False, True):
        with contextlib.suppress(Exception):
            if register:
                library = Path(ort.__file__).parent / "capi" / PROVIDER_FILES[CUDA]
                ort.register_execution_provider_library(CUDA, str(library))
            for device in ort.get_ep_devices():
                if device.ep_name == CUDA and (memory := device.memory_info(ort.OrtDeviceMemoryType.HOST_ACCESSIBLE)):
                    return memory
    return None
