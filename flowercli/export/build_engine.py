"""Build a TensorRT engine for this machine through onnxruntime, and see what was really built.

Not tested on a GPU.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import onnx
import onnxruntime as ort

from flowercli.bundle import MACHINE_BOUND, ONNX_FP16, PLAN, TENSORRT_GRAPH, TENSORRT_SIDECAR, Bundle, describe, to_json
from flowercli.errors import ExportError
from flowercli.export.engine_process import Tick, build, run_apart
from flowercli.export.graph import write_model
from flowercli.export.parity import Answer, Job, Made
from flowercli.inference.classifier import Classifier
from flowercli.inference.engine import PROFILE, Engine, this_machine
from flowercli.inference.nvidia import find_driver
from flowercli.inference.preprocess import PreprocessSpec
from flowercli.inference.tensorrt import build_options, writing_options
from flowercli.shown import in_shell

ENGINE_NODE, ENGINE_FILE = "EPContext", "ep_cache_context"
FP16, FP32, UNKNOWN = "fp16", "fp32", "unknown"
# As TensorRT lists what it built: ``Layer(CaskConvolution): name, Tactic: 0x…, in (Half[1,…]) -> out (Half[1,…])``.
LAYER = re.compile(r"Layer\((?P<kind>\w+)\): .*->(?P<outputs>.*)")
TYPE = re.compile(r"\b(Half|Float)[\[(]")
# These do not show the precision: they move numbers about, or are many layers in one, of which only the last is seen.
SILENT = frozenset({"Reformat", "NoOp", "Constant", "Shuffle", "Cast", "Signal", "Wait", "Myelin"})
FP32_BYTES = 4
BUILD_AGAIN = "flowers export {} --fp16 --trt"


def write(job: Job) -> Made:
    """Build an engine from the fp16 graph, the new one or that of the bundle, and ask it as ``classify`` will."""
    half = job.folder / ONNX_FP16
    if not half.exists():
        shutil.copyfile(job.bundle.file(ONNX_FP16), half)
    job.say("Building a TensorRT engine: this takes minutes")
    engine = build_engine(job.bundle, half, job.folder, job.tick)
    if engine.precision == UNKNOWN:
        job.say("TensorRT does not show in which precision it built the engine; the check below is what is known of it")
    check = job.compared(PLAN, f"TensorRT {engine.tensorrt}", engine_answers(job.bundle, job.folder))
    # What a Triton repository has to know besides.
    return Made([check], {"compute_capability": engine.compute_capability, "max_batch": engine.profile["max"]})


def build_engine(bundle: Bundle, half: Path, folder: Path, tick: Tick = lambda _seconds: None) -> Engine:
    """Build the engine of a bundle's fp16 graph and write its three files into ``folder``.

    Args:
        bundle: the model.
        half: its ``model.fp16.onnx``.
        folder: where the files go.
        tick: called about once a second with the seconds since the build began.

    Raises:
        ExportError: TensorRT does not build it, takes only a part of the graph, or builds it in fp32.
    """
    machine, driver = this_machine(), find_driver()
    assert machine is not None
    assert driver is not None
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    graph, log = folder / TENSORRT_GRAPH, folder / "build.log"
    options = build_options((spec.height, spec.width), machine, fp16=True) | writing_options(graph)
    run_apart(build, (str(half), options), log, tick)
    name_plan(bundle, graph)
    with log.open(encoding="utf-8", errors="replace") as lines:
        precision = built_precision(lines, (folder / PLAN).stat().st_size, half_weights(half))
    if precision == FP32:
        raise ExportError("TensorRT built the engine in fp32 from the fp16 graph. Nothing was written.")
    engine = Engine(
        machine.tensorrt,
        machine.compute_capability,
        machine.driver,
        driver.gpus[0].name,
        ort.__version__,
        PROFILE,
        {"file": half.name, "sha256": describe(half)["sha256"]},
        precision,
    )
    (folder / TENSORRT_SIDECAR).write_text(to_json(engine.as_dict()), encoding="utf-8", newline="\n")
    return engine


def engine_answers(bundle: Bundle, folder: Path) -> Answer:
    """Return the function that asks the engine in ``folder``, opened as ``classify`` opens that of a bundle.

    Raises:
        ExportError: onnxruntime does not load it.
    """
    files = {name: describe(folder / name) for name in (*MACHINE_BOUND, ONNX_FP16)}
    built = Bundle(folder, {**bundle.config, "flowers": {**bundle.section, "files": files}})
    classifier = Classifier.open(built, "tensorrt")
    if classifier.runtime.graph != TENSORRT_GRAPH:
        raise ExportError("onnxruntime does not load the engine that it has just built.", hint="flowers doctor")
    return classifier.run


def name_plan(bundle: Bundle, graph: Path) -> None:
    """Give the engine that onnxruntime wrote the name it has in a bundle, also in the graph that loads it.

    Raises:
        ExportError: the graph has other nodes besides the engine's: TensorRT did not take them.
    """
    proto = onnx.load(str(graph))
    kinds = [node.op_type for node in proto.graph.node]
    if kinds != [ENGINE_NODE]:
        others = sorted({kind for kind in kinds if kind != ENGINE_NODE})
        message = f"TensorRT takes only a part of the graph, without {', '.join(others) or 'all of it in one'}."
        raise ExportError(f"{message} Nothing was written.", hint=BUILD_AGAIN.format(in_shell(bundle.path)))
    (written,) = [attribute for attribute in proto.graph.node[0].attribute if attribute.name == ENGINE_FILE]
    (graph.parent / written.s.decode()).rename(graph.parent / PLAN)
    written.s = PLAN.encode()
    write_model(proto, bundle, graph)


def half_weights(half: Path) -> int:
    """Return how many weights of an fp16 graph are in half precision."""
    tensors = onnx.load(str(half)).graph.initializer
    return sum(_count(tensor.dims) for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT16)


def _count(dims: Iterable[int]) -> int:
    count = 1
    for size in dims:
        count *= size
    return count


def built_precision(log: Iterable[str], plan_bytes: int, weights: int) -> str:
    """Say in which precision an engine computes: ``fp16``, ``fp32``, or ``unknown`` where nothing shows it.

    Args:
        log: lines of a detailed build, of which TensorRT's list of layers counts.
        plan_bytes: size of the engine. One smaller than its weights in fp32 does not hold them so.
        weights: how many weights the fp16 graph has in half precision.
    """
    outputs = [found["outputs"] for line in log if (found := LAYER.search(line)) and found["kind"] not in SILENT]
    types = [kind for text in outputs for kind in TYPE.findall(text)[:1]]
    if types:
        return FP16 if types.count("Half") > len(types) / 2 else FP32
    return FP16 if plan_bytes < FP32_BYTES * weights else UNKNOWN
