"""What a TensorRT engine is bound to, as its bundle describes it, and whether that is this machine.

An engine is good for one TensorRT, one compute capability and one graph; others load it with luck, and not always with
the right answers. Not tested on a GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from flowercli.bundle import PLAN, TENSORRT_GRAPH, TENSORRT_SIDECAR, describe
from flowercli.errors import BundleError
from flowercli.inference import MOST_A_BATCH
from flowercli.inference.libraries import NVINFER
from flowercli.inference.nvidia import find_driver, kernel_module

if TYPE_CHECKING:
    from pathlib import Path

    from flowercli.bundle import Bundle

# Pictures a batch: the least, the number that an engine is tuned for, the most.
PROFILE = {"min": 1, "opt": 8, "max": MOST_A_BATCH}
VERSION_FUNCTION = "getInferLibVersion"


class Machine(NamedTuple):
    """What an engine is built for, as text: ``10.16.0``, ``9.0``, ``580.65.06``; no driver where none tells."""

    tensorrt: str
    compute_capability: str
    driver: str


class Engine(NamedTuple):
    """What ``model.trt.json`` says of an engine; ``onnx`` is the name and sha256 of the graph it was built from."""

    tensorrt: str
    compute_capability: str
    driver: str
    gpu: str
    onnxruntime: str
    profile: dict[str, int]
    onnx: dict[str, str]
    precision: str

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the file.

        Raises:
            ValueError: it is damaged.
        """
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.keys() != set(cls._fields):
            raise ValueError("other fields than those of this version")
        if not all(isinstance(fields[key], dict) for key in ("profile", "onnx")):
            raise ValueError("profile or onnx is not an object")
        return cls(**fields)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return self._asdict()


def misfits(engine: Engine, machine: Machine, onnx_sha256: str | None) -> list[str]:
    """Return why an engine cannot be used; nothing if it fits.

    Args:
        engine: as its bundle describes it.
        machine: this one.
        onnx_sha256: of the graph that the engine names, as it is in the bundle now; ``None`` if it is not there.
    """
    found = [
        f"built {word} {built}, here is {here}"
        for word, built, here in (
            ("with TensorRT", engine.tensorrt, machine.tensorrt),
            ("for compute capability", engine.compute_capability, machine.compute_capability),
            ("under driver", _major(engine.driver), _major(machine.driver)),
        )
        if built != here
    ]
    if engine.profile != PROFILE:
        found.append("built for other batch sizes")
    if engine.onnx.get("sha256") != onnx_sha256:
        found.append(f"built from another {engine.onnx.get('file')}")
    return found


def _major(driver: str) -> str:
    return driver.partition(".")[0]


def this_machine() -> Machine | None:
    """Return what an engine would be built for here; ``None`` without a GPU or TensorRT."""
    driver, version = find_driver(), library_version(NVINFER)
    if driver is None or not driver.gpus or version is None:
        return None
    return Machine(version, ".".join(map(str, driver.gpus[0].capability)), kernel_module() or "")


def library_version(name: str) -> str | None:
    """Ask TensorRT's library for its version; ``None`` where it does not load or is none of TensorRT's."""
    try:
        number = int(getattr(ctypes.CDLL(name), VERSION_FUNCTION)())
    except (OSError, AttributeError):
        return None
    # From TensorRT 10 on, two digits each for minor and patch.
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}" if number else None


def cache_key(machine: Machine, onnx_sha256: str) -> str:
    """Return the name of what is built on a machine from a graph: another machine, graph or profile, another name."""
    bound_to = [machine.tensorrt, machine.compute_capability, _major(machine.driver), PROFILE, onnx_sha256]
    return hashlib.sha256(json.dumps(bound_to, sort_keys=True).encode()).hexdigest()[:16]


def read_engine(bundle: Bundle) -> Engine:
    """Read what a bundle says of its engine, after checking all three files.

    Raises:
        BundleError: one is missing or altered.
        ValueError: the description is damaged.
    """
    for name in (PLAN, TENSORRT_GRAPH):
        bundle.file(name)
    return Engine.from_json(bundle.file(TENSORRT_SIDECAR).read_text(encoding="utf-8"))


def unusable(bundle: Bundle, machine: Machine) -> list[str]:
    """Return why the engine of a bundle cannot be used on a machine; nothing if it can."""
    try:
        engine = read_engine(bundle)
    except BundleError as error:
        return [error.message.rstrip(".")]
    except ValueError as error:
        return [f"{TENSORRT_SIDECAR} is damaged: {error}"]
    listed = bundle.section["files"].get(str(engine.onnx.get("file")), {})
    return misfits(engine, machine, listed.get("sha256"))


def graph_sha256(bundle: Bundle, graph: Path) -> str:
    """Return the sha256 of a graph, which a folder lists and a lone file does not."""
    digest: str = (bundle.section["files"].get(graph.name) or describe(graph))["sha256"]
    return digest
