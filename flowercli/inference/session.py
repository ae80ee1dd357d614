"""Choose where the model runs, open the session there, and keep the reason for each better place that was not.

TensorRT, CUDA and CPU differ only in onnxruntime's execution providers. ``auto`` takes the first that
really works, in that order; a device asked for by name is used or refused, never replaced in silence.
The TensorRT and CUDA rows are written against onnxruntime's documentation and not tested on a GPU.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnxruntime as ort

from flowercli.bundle import ONNX, ONNX_INT8, Bundle
from flowercli.errors import BundleError, DeviceError
from flowercli.inference.cpu import lacks_vnni

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AUTO = "auto"
DEVICES = (AUTO, "tensorrt", "cuda", "cpu")
# Errors only: its warnings speak of its own optimisations and of devices it looked for in vain.
LOG_ERRORS = 3
DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@dataclass(frozen=True)
class Runtime:
    """What a session runs on: the device, the graph, and why each better device was passed over."""

    device: str
    provider: str
    graph: str
    rejected: tuple[tuple[str, str], ...]

    def describe(self) -> str:
        """Return one line for people."""
        reasons = "".join(f"; not {device}: {reason}" for device, reason in self.rejected)
        return f"{self.device} ({self.graph}){reasons}"


@dataclass(frozen=True)
class Candidate:
    """One row of the choice: a device, its provider, the graphs it prefers, and what is missing for it."""

    device: str
    provider: str
    graphs: tuple[str, ...]
    missing: Callable[[], str | None]


def _missing_cuda() -> str | None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "this onnxruntime is built without CUDA"
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return f"no NVIDIA driver ({DRIVER_LIBRARY} not found)"
    ort.preload_dlls()
    return None


def _missing_tensorrt() -> str | None:
    if "TensorrtExecutionProvider" not in ort.get_available_providers():
        return "this onnxruntime is built without TensorRT"
    missing = _missing_cuda()
    if missing is None and importlib.util.find_spec("tensorrt") is None:
        return "the package tensorrt is not installed"
    return missing


CANDIDATES = (
    Candidate("tensorrt", "TensorrtExecutionProvider", (ONNX, ONNX_INT8), _missing_tensorrt),
    Candidate("cuda", "CUDAExecutionProvider", (ONNX, ONNX_INT8), _missing_cuda),
    Candidate("cpu", "CPUExecutionProvider", (ONNX_INT8, ONNX), lambda: None),
)


def open_session(bundle: Bundle, device: str = AUTO, *, threads: int = 1) -> tuple[ort.InferenceSession, Runtime]:
    """Open a session of a bundle on the best device, or on the one that was asked for.

    Args:
        bundle: the model.
        device: ``auto``, ``tensorrt``, ``cuda`` or ``cpu``.
        threads: threads within one operator, on the CPU.

    Raises:
        DeviceError: the device cannot be had; the message says why.
        BundleError: the bundle has no graph, or an altered one.
    """
    rejected: list[tuple[str, str]] = []
    for candidate in CANDIDATES:
        if device not in {AUTO, candidate.device}:
            continue
        graph = choose_graph(bundle, candidate.graphs)
        opened = candidate.missing() or _open(graph, candidate.provider, threads)
        if not isinstance(opened, str):
            return opened, Runtime(candidate.device, candidate.provider, graph.name, tuple(rejected))
        rejected.append((candidate.device, opened))
    raise _no_device(device, rejected)


def choose_graph(bundle: Bundle, preferred: tuple[str, ...]) -> Path:
    """Return the first of the preferred graphs that the bundle has, checked.

    Raises:
        BundleError: it has none, or it is altered.
    """
    if bundle.is_lone_onnx:
        return bundle.path
    for name in preferred:
        if name in bundle.section["files"]:
            return bundle.file(name)
    message = f"The bundle {bundle.path} has no ONNX graph yet."
    raise BundleError(message, hint=f"flowers export {bundle.path} --onnx --int8")


def _open(graph: Path, provider: str, threads: int) -> ort.InferenceSession | str:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_ERRORS
    if lacks_vnni():
        # There sums of products of uint8 and int8 saturate; this avoids it, at half the speed.
        options.add_session_config_entry("session.x64quantprecision", "1")
    # Threads that spin while idle take the core from the one that decodes the next picture.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(graph, options, providers=[provider])
    except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions have no other common base)
        return str(error).splitlines()[0]
    used = session.get_providers()
    return session if used[0] == provider else f"onnxruntime fell back to {used[0]}"


def _no_device(device: str, rejected: list[tuple[str, str]]) -> DeviceError | BundleError:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in rejected)
    if device in {AUTO, "cpu"}:
        return BundleError(f"The graph cannot be run ({reasons}).", hint="Fetch or export the bundle again.")
    return DeviceError(f"--device {device} cannot be had: {reasons}.", hint="Leave --device out, or use --device cpu.")
