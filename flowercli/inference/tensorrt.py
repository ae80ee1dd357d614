"""TensorRT through onnxruntime: the options of its provider, and which graph a bundle runs with.

A bundle with an engine has three files: ``model.plan``, the engine; ``model.trt.onnx``, the graph of one node through
which onnxruntime loads it; ``model.trt.json``, which says what it is bound to. Where it does not fit, one is built,
which takes minutes, and kept in the data directory.
The names of the options are onnxruntime's: a test looks each up in the installed library. Not tested on a GPU.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.bundle import ONNX_FP16, PLAN, TENSORRT_GRAPH, Bundle
from flowercli.errors import DataError, DeviceError
from flowercli.inference.engine import PROFILE, Machine, cache_key, graph_sha256, this_machine, unusable
from flowercli.inference.libraries import CUDA, TENSORRT
from flowercli.inference.preprocess import INPUT, PreprocessSpec
from flowercli.inference.probe import tensorrt_obstacles

if TYPE_CHECKING:
    from collections.abc import Iterator

    Provider = str | tuple[str, dict[str, str]]

# Nothing here prints. Python writes warnings of a logger that nobody has set up to stderr.
LOG = logging.getLogger(__name__)
OPTIONS = {
    "profile": "trt_profile_{}_shapes",
    "fp16": "trt_fp16_enable",
    "engine_cache": "trt_engine_cache_enable",
    "engine_folder": "trt_engine_cache_path",
    "timing_cache": "trt_timing_cache_enable",
    "timing_folder": "trt_timing_cache_path",
    "write_graph": "trt_dump_ep_context_model",
    "graph_file": "trt_ep_context_file_path",
    "embed_engine": "trt_ep_context_embed_mode",
    "detailed_log": "trt_detailed_build_log",
}
# How onnxruntime's Python reads a flag; it refuses 1 and 0.
YES, NO = "True", "False"


def require_tensorrt(asked: str) -> None:
    """Refuse what needs TensorRT on a machine that cannot run it, at once.

    Raises:
        DeviceError: what is missing, and what to type.
    """
    if obstacle := next(tensorrt_obstacles(), None):
        hint = f"{obstacle.fix}\nflowers doctor   (looks at everything)"
        raise DeviceError(f"{asked} needs TensorRT and a GPU: {obstacle.reason}.", hint=hint)


def setups(bundle: Bundle, graph: Path) -> Iterator[tuple[Path, list[Provider]]]:
    """Yield the graphs and providers to try in turn: the engine of the bundle if it fits, then one that is built.

    Why the engine is not used, and that building takes minutes, is logged as a warning before it happens.

    Args:
        bundle: the model.
        graph: what is built from, fp16 or fp32.
    """
    machine = this_machine()
    if machine is None:  # Not to be read on this system: onnxruntime decides alone, and keeps nothing.
        yield graph, [TENSORRT, CUDA]
        return
    if not bundle.is_lone_onnx and PLAN in bundle.section["files"]:
        reasons = unusable(bundle, machine)
        if not reasons:
            yield bundle.path / TENSORRT_GRAPH, [TENSORRT, CUDA]
            reasons = ["onnxruntime does not load it"]
        LOG.warning("The TensorRT engine of %s is not used: %s.", bundle.path, "; ".join(reasons))
    yield graph, [(TENSORRT, kept_options(bundle, graph, machine)), CUDA]


def kept_options(bundle: Bundle, graph: Path, machine: Machine) -> dict[str, str]:
    """Return the options that build an engine, keep it, and take it from where it is kept the next time."""
    folder = cache_folder(cache_key(machine, graph_sha256(bundle, graph)))
    if not any(folder.glob("*.engine")):
        said = "Building a TensorRT engine from %s: this takes minutes, once; it is kept in %s."
        LOG.warning(f"{said} In the bundle: flowers export %s --trt", graph.name, folder, bundle.path)  # noqa: G004
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    options = build_options((spec.height, spec.width), machine, fp16=graph.name == ONNX_FP16)
    return {**options, OPTIONS["engine_cache"]: YES, OPTIONS["engine_folder"]: str(folder)}


def cache_folder(name: str) -> Path:
    """Return the folder for engines or measurements of that name in the data directory.

    A served model has a copy of this module and no data directory, nor has a user without a home; they get a folder
    that is nobody else's, because an engine is code.
    """
    try:
        from flowercli.home import data_home

        folder = data_home() / "engines" / name
    except (ModuleNotFoundError, DataError):
        return Path(tempfile.mkdtemp(prefix="flowers-engines-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_options(shape: tuple[int, int], machine: Machine, *, fp16: bool) -> dict[str, str]:
    """Return the provider's options for building an engine from a graph on pixels.

    Args:
        shape: H and W of the input ``[N, H, W, 3]``.
        machine: this one; measurements of kernels are kept for it.
        fp16: whether the graph is in half precision. Without the flag, TensorRT 10 builds an fp32 engine from one.
    """
    height, width = shape
    profile = {
        OPTIONS["profile"].format(bound): f"{INPUT}:{size}x{height}x{width}x3" for bound, size in PROFILE.items()
    }
    timing = cache_folder(f"timing-{machine.tensorrt}")
    return {
        **profile,
        OPTIONS["fp16"]: YES if fp16 else NO,
        OPTIONS["timing_cache"]: YES,
        OPTIONS["timing_folder"]: str(timing),
    }


def writing_options(graph: Path) -> dict[str, str]:
    """Return the options that write an engine beside the graph through which it is loaded, and say what is in it.

    The path of the engine stays unset: onnxruntime takes none but a relative one here, and puts it beside the graph.
    """
    return {
        OPTIONS["engine_cache"]: YES,
        OPTIONS["write_graph"]: YES,
        OPTIONS["graph_file"]: str(graph),
        OPTIONS["embed_engine"]: "0",
        OPTIONS["detailed_log"]: YES,
    }
