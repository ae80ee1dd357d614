"""Choose where the model runs, open the session there, and keep the reason for each better place that was not.

TensorRT, CUDA and CPU differ only in onnxruntime's execution providers. ``auto`` takes the first that
really works, in that order; a device asked for by name is used or refused, never replaced in silence.
The TensorRT and CUDA rows are written against onnxruntime's documentation and not tested on a GPU. What TensorRT needs
beyond a provider is in ``tensorrt``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flowercli.bundle import FORMATS, ON_CPU, ON_GPU, ONNX_INT8, WEIGHTS, Bundle
from flowercli.errors import BundleError, DeviceError, UsageError
from flowercli.graph_file import check_file
from flowercli.inference.cpu import lacks_vnni
from flowercli.inference.libraries import CUDA, TENSORRT, load_error
from flowercli.inference.probe import Obstacle, cuda_obstacles, import_onnxruntime, tensorrt_obstacles
from flowercli.inference.tensorrt import setups as tensorrt_setups
from flowercli.installation import add_extra
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import onnxruntime as ort

    from flowercli.inference.tensorrt import Provider
else:
    ort = import_onnxruntime()

AUTO, CPU = "auto", "cpu"
DEVICES = (AUTO, "tensorrt", "cuda", CPU)
DEVICE_VARIABLE = "FLOWERS_DEVICE"
# Nothing: errors are raised too, and its log has what a stranger's graph calls its nodes, as it is.
LOG_NOTHING = 4
# Sums of products of uint8 and int8 fit into 16 bits, where a CPU without VNNI adds them, up to so many bits a weight.
BITS_THAT_FIT = 7


class Session(Protocol):
    """What is used here of a session: onnxruntime's, or one that keeps its places on a device."""

    def run(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Return the outputs of these names."""

    def get_inputs(self) -> list[Any]:
        """Tell name, type and shape of each input."""

    def get_outputs(self) -> list[Any]:
        """Tell name, type and shape of each output."""

    def get_providers(self) -> list[str]:
        """Tell what it runs on, the first first."""


class Rejected(NamedTuple):
    """A device that was passed over: why, and what to type to have it."""

    device: str
    reason: str
    fix: str


class Runtime(NamedTuple):
    """What a session runs on: the device, the graph, and why each better device was passed over."""

    device: str
    provider: str
    graph: str
    rejected: tuple[Rejected, ...]

    def describe(self) -> str:
        """Return one line for people."""
        reasons = "".join(f"; not {other.device}: {other.reason}" for other in self.rejected)
        return f"{self.device} ({self.graph}){reasons}"


class Candidate(NamedTuple):
    """One row of the choice: a device, its provider, the graphs it takes, the best first, and what stands in its way.

    ``setups`` yields what to open, one after the other until one opens: a graph, and the providers with their options.
    """

    device: str
    provider: str
    graphs: tuple[str, ...]
    obstacles: Callable[[], Iterator[Obstacle]]
    setups: Callable[[Bundle, Path], Iterator[tuple[Path, list[Provider]]]]


def _on_cuda(_bundle: Bundle, graph: Path) -> Iterator[tuple[Path, list[Provider]]]:
    # Refused where a part of the graph is left to the CPU, as all of an int8 one is.
    yield graph, [(CUDA, RECORDING)]
    yield graph, [CUDA]


def _on_cpu(_bundle: Bundle, graph: Path) -> Iterator[tuple[Path, list[Provider]]]:
    yield graph, [CPU_PROVIDER]


CPU_PROVIDER = "CPUExecutionProvider"
# One call replays a whole run. Not for TensorRT: its provider keeps one recording, whatever the size of the batch.
RECORDING = {"enable_cuda_graph": "1"}
# What onnxruntime calls the devices whose memory holds pixels and answers.
MEMORY = {"tensorrt": "cuda", "cuda": "cuda"}
# Not int8: its graph takes the pixels as quantized values, which TensorRT wants signed.
ON_TENSORRT = tuple(name for name in ON_GPU if name != ONNX_INT8)
CANDIDATES = (
    Candidate("tensorrt", TENSORRT, ON_TENSORRT, tensorrt_obstacles, tensorrt_setups),
    Candidate("cuda", CUDA, ON_GPU, cuda_obstacles, _on_cuda),
    Candidate(CPU, CPU_PROVIDER, ON_CPU, lambda: iter(()), _on_cpu),
)


def requested_device(option: str | None = None) -> str:
    """Return the device that is asked for: by the option, by ``FLOWERS_DEVICE``, or ``auto``.

    Raises:
        UsageError: it is none of ``auto``, ``tensorrt``, ``cuda`` and ``cpu``.
    """
    device = option or os.environ.get(DEVICE_VARIABLE) or AUTO
    if device not in DEVICES:
        raise UsageError(f"{_asked_for(option, device)}: choose one of {', '.join(DEVICES)}.")
    return device


def open_session(bundle: Bundle, device: str | None = None, *, threads: int = 1) -> tuple[Session, Runtime]:
    """Open a session of a bundle on the best device, or on the one that was asked for.

    Args:
        bundle: the model.
        device: ``auto``, ``tensorrt``, ``cuda`` or ``cpu``; what ``FLOWERS_DEVICE`` says without it.
        threads: threads within one operator, on the CPU.

    Raises:
        DeviceError: the device cannot be had; the message says why, the hint what to type.
        BundleError: the bundle has no graph, or an altered one.
        UsageError: there is no such device.
    """
    asked = requested_device(device)
    rejected: list[Rejected] = []
    for candidate in CANDIDATES:
        if asked not in {AUTO, candidate.device}:
            continue
        opened = next(candidate.obstacles(), None) or _open(bundle, candidate, threads)
        if not isinstance(opened, Obstacle):
            session, graph = opened
            return session, Runtime(candidate.device, candidate.provider, graph.name, tuple(rejected))
        rejected.append(Rejected(candidate.device, opened.reason, opened.fix))
    raise _no_device(asked, _asked_for(device, asked), rejected)


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
    raise BundleError(message, hint=f"flowers export {in_shell(bundle.path)} --onnx --int8")


def _open(bundle: Bundle, candidate: Candidate, threads: int) -> tuple[Session, Path] | Obstacle:
    graph = _graph_for(bundle, candidate)
    if isinstance(graph, Obstacle):
        return graph
    options = _options(threads, precise=lacks_vnni() and _weight_bits(bundle, graph) > BITS_THAT_FIT)
    obstacle = Obstacle("nothing to open", "flowers doctor")
    for file, providers in candidate.setups(bundle, graph):
        check_file(file)
        opened: Session | Obstacle = _try(file, providers, options)
        if not isinstance(opened, Obstacle) and candidate.device in MEMORY:
            opened = _try_places(bundle, opened, MEMORY[candidate.device])
        if not isinstance(opened, Obstacle):
            return opened, file
        obstacle = opened
    return obstacle


def _graph_for(bundle: Bundle, candidate: Candidate) -> Path | Obstacle:
    """Return the graph for a candidate; that the bundle has others only is a reason against the candidate."""
    listed = bundle.section["files"]
    if not bundle.is_lone_onnx and listed.keys() & set(ON_CPU) and not listed.keys() & set(candidate.graphs):
        best = next(form for form in FORMATS if form.file == candidate.graphs[0])
        fix = f"flowers export {in_shell(bundle.path)} {best.option}"
        if WEIGHTS not in listed:
            fix = "flowers train --data DIR   (this model comes without the weights that one is made from)"
        return Obstacle(f"the model has no {' or '.join(candidate.graphs)}", fix)
    return choose_graph(bundle, candidate.graphs)


def _weight_bits(bundle: Bundle, graph: Path) -> int:
    """Return how many bits a graph's weights take, as its export recorded it; of a lone one nothing is known."""
    record = {} if bundle.is_lone_onnx else bundle.section.get("exports", {}).get(graph.name, {})
    return int(record.get("weight_bits") or 8)


def _options(threads: int, *, precise: bool) -> ort.SessionOptions:
    """Return the options of a session; a ``precise`` one multiplies in more bits than a CPU without VNNI would."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_NOTHING
    if precise:
        # onnxruntime looks through all weights for those that need it: more than half of the time to open a session.
        options.add_session_config_entry("session.x64quantprecision", "1")
    # Threads that spin while idle take the core from the one that decodes the next picture.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _try(graph: Path, providers: list[Provider], options: ort.SessionOptions) -> ort.InferenceSession | Obstacle:
    try:
        # Its own way to fall back prints on stdout and hides what went wrong.
        session = ort.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions have no other common base)
        return Obstacle(str(error).splitlines()[0], "flowers doctor")
    first = providers[0] if isinstance(providers[0], str) else providers[0][0]
    used = session.get_providers()[0]
    if used != first:
        if reason := load_error(first):
            return Obstacle(reason, add_extra("gpu" if first == CUDA else "tensorrt"))
        return Obstacle(f"onnxruntime fell back to {used}", "flowers doctor")
    return session


def _try_places(bundle: Bundle, session: ort.InferenceSession, memory: str) -> Session | Obstacle:
    """Have a session keep its pixels and answers in the device's memory, and answer about a black picture there."""
    from flowercli.inference.on_device import OnDevice
    from flowercli.inference.preprocess import PreprocessSpec

    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    try:
        return OnDevice(session, memory, (spec.height, spec.width))
    except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions have no other common base)
        return Obstacle((str(error).splitlines() or [type(error).__name__])[0], "flowers doctor")


def _asked_for(option: str | None, device: str) -> str:
    return f"--device {device}" if option else f"{DEVICE_VARIABLE}={device}"


def _no_device(asked: str, said: str, rejected: list[Rejected]) -> DeviceError | BundleError:
    reasons = "; ".join(f"{other.device}: {other.reason}" for other in rejected)
    if asked in {AUTO, CPU}:
        return BundleError(f"The graph cannot be run ({reasons}).", hint="Fetch or export the bundle again.")
    without = f"unset {DEVICE_VARIABLE}" if said.startswith(DEVICE_VARIABLE) else "leave --device out"
    hint = f"{rejected[0].fix}\nOr {without}: the CPU answers too.\nflowers doctor   (looks at everything)"
    return DeviceError(f"{said} cannot be had: {rejected[0].reason}.", hint=hint)
