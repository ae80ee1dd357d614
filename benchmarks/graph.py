"""Where the time of a model's graph goes, kind of node by kind of node, and what other ways to run it take.

python benchmarks/graph.py [MODEL] [--rounds 5] [--runs 100]

MODEL is a name or a bundle; each of its graphs is run. Ways: onnxruntime as `flowers` opens it, with less optimization,
with its extended one alone, without weights packed beforehand, in batches of eight; OpenVINO, if it is installed. One
thread; CPU milliseconds a picture, in turn, medians of rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort

from flowercli.bundle import ON_CPU
from flowercli.inference.preprocess import INPUT
from flowercli.models import load_model

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], object]

LEVELS = {
    "onnxruntime, as `flowers` has it": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "onnxruntime, extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "onnxruntime, basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
}
BATCH = 8
WARM_UP = 5


def main() -> None:
    """Print a table for each graph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=100)
    asked = parser.parse_args()
    bundle = load_model(asked.model)
    for name in ON_CPU:
        if name in bundle.section["files"]:
            graph = bundle.file(name)
            print(f"{name}: {', '.join(kinds(graph))}")
            for way, milliseconds in measured(ways(graph), asked.rounds, asked.runs).items():
                print(f"  {way:42} {statistics.median(milliseconds):6.2f} ms ({min(milliseconds):.2f} at best)")


def pictures(session: ort.InferenceSession, count: int) -> np.ndarray:
    """Return random pixels of the size that a graph takes."""
    return np.random.default_rng(0).integers(0, 256, (count, *session.get_inputs()[0].shape[1:]), np.uint8)


def opened(graph: Path, level: ort.GraphOptimizationLevel, **entries: str) -> ort.InferenceSession:
    """Open a session on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = level
    options.enable_profiling = "profile" in entries
    options.profile_file_prefix = entries.pop("profile", "")
    for key, value in entries.items():
        options.add_session_config_entry(f"session.{key}", value)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def ways(graph: Path) -> dict[str, tuple[Run, int]]:
    """Return what answers about pictures, and about how many, by name."""
    sessions = {name: opened(graph, level) for name, level in LEVELS.items()}
    best = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    sessions["onnxruntime, weights not packed"] = opened(graph, best, disable_prepacking="1")
    (first, *_) = sessions.values()
    one, eight = pictures(first, 1), pictures(first, BATCH)
    found: dict[str, tuple[Run, int]] = {
        name: ((lambda session=session: session.run(None, {INPUT: one})), 1) for name, session in sessions.items()
    }
    found[f"onnxruntime, batches of {BATCH}"] = (lambda: first.run(None, {INPUT: eight})), BATCH
    if find_spec("openvino"):
        openvino = import_module("openvino")
        hints = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.compile_model(openvino.Core().read_model(graph), "CPU", hints).create_infer_request()
        found[f"OpenVINO {openvino.__version__.partition('-')[0]}"] = (lambda: request.infer({INPUT: one})), 1
    return found


def measured(found: dict[str, tuple[Run, int]], rounds: int, runs: int) -> dict[str, list[float]]:
    """Return CPU milliseconds a picture of all threads of this process, for each way, round by round."""
    milliseconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, (run, count) in found.items():
            for _ in range(WARM_UP):
                run()
            started = time.process_time()
            for _ in range(max(1, runs // count)):
                run()
            milliseconds[name].append(1000 * (time.process_time() - started) / (max(1, runs // count) * count))
    return milliseconds


def kinds(graph: Path) -> list[str]:
    """Return the share of the time that each kind of node takes; of convolutions by their shape."""
    with tempfile.TemporaryDirectory() as folder:
        session = opened(graph, ort.GraphOptimizationLevel.ORT_ENABLE_ALL, profile=f"{folder}/profile")
        one = pictures(session, 1)
        for _ in range(50):
            session.run(None, {INPUT: one})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    convolutions = {node.name: kind(node) for node in onnx.load(graph).graph.node if "Conv" in node.op_type}
    took: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            name = event["name"].removesuffix("_kernel_time").partition("_token")[0]
            took[convolutions.get(name, event["args"]["op_name"])] += event["dur"]
    return [f"{name} {100 * spent / took.total():.0f} %" for name, spent in took.most_common(5)]


def kind(node: onnx.NodeProto) -> str:
    """Return the kind of a convolution."""
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if given.get("group", 1) > 1:
        return "depthwise"
    return "pointwise" if set(given.get("kernel_shape", ())) == {1} else "first convolution"


if __name__ == "__main__":
    main()
