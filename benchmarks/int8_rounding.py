"""What int8 costs: the graph of ``flowers export`` against those of onnxruntime's ``quantize_static`` alone.

python benchmarks/int8_rounding.py BUNDLE [--data DIR]     (a bundle with model.onnx and model.int8.onnx)

Those round each weight to its nearest value, with eight bits and with seven, and normalise pixels in fp32. All
are calibrated on the same training photographs and compared with the fp32 graph on those of validation.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from flowercli.bundle import ONNX, ONNX_INT8, Bundle
from flowercli.data.shards import photographs
from flowercli.evaluation.bundle_data import bundle_data, pixels_of
from flowercli.export.graph import float_nodes
from flowercli.export.quantize import PhotoReader, calibration_batches
from flowercli.inference.preprocess import INPUT, PreprocessSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Answers = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

OURS = "flowers export"
# onnxruntime's option for CPUs without VNNI: multiply in more bits, so that eight-bit weights do not overflow.
PRECISE = "session.x64quantprecision"


def main() -> None:
    """Print error, agreement and time of each graph, and the time's ratio to that of ``flowers export``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.bundle)
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    data = bundle_data(bundle, arguments.data)
    train, val = (photographs(data.root, data.photos(split)) for split in ("train", "val"))
    batches = calibration_batches(train, spec)
    photos = [pixels_of(val, place, spec)[np.newaxis] for place in range(len(val))]
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        graphs = {OURS: bundle.file(ONNX_INT8)}
        for bits, reduced in ((8, False), (7, True)):
            target = graphs[f"quantize_static, {bits} bits"] = Path(folder) / f"{bits}.onnx"
            quantize_plainly(bundle.file(ONNX), target, batches, reduce_range=reduced)
        compare(bundle.file(ONNX), graphs, photos)


def quantize_plainly(fp32: Path, target: Path, batches: Sequence[Pixels], *, reduce_range: bool) -> None:
    """Quantize as onnxruntime's documents say, with the head in fp32 as ``flowers export`` has it."""
    prepared = target.with_name("prepared.onnx")
    with contextlib.redirect_stdout(io.StringIO()):
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            PhotoReader(batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=float_nodes(onnx.load(str(prepared)).graph),
            extra_options={"CalibMovingAverage": True},
        )


def compare(fp32: Path, graphs: dict[str, Path], photos: Sequence[Pixels]) -> None:
    """Ask every graph about every photograph, in turn, with and without the precise kernels."""
    reference = [ask(open_graph(fp32, precise=False), one)[0] for one in photos]
    cases = {(name, precise): open_graph(path, precise=precise) for name, path in graphs.items() for precise in (0, 1)}
    answers: dict[tuple[str, int], list[Answers]] = {case: [] for case in cases}
    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for one in photos:
        for case, session in cases.items():
            answer, taken = ask(session, one)
            answers[case].append(answer)
            seconds[case].append(taken)
    fastest = statistics.median(seconds[OURS, 0])
    print(f"{len(photos)} photographs, one thread; error: squared, of the embedding, as a share of its squared length")
    for case, found in answers.items():
        taken = statistics.median(seconds[case])
        label = f"{case[0]}{', precise kernels' if case[1] else ''}"
        print(
            f"{label:40} error {error(reference, found):6.2%}  same class {agreement(reference, found):7.2%}  ", end=""
        )
        print(f"{taken * 1e3:5.1f} ms, {taken / fastest:.2f} times the first's")


def open_graph(path: Path, *, precise: bool) -> ort.InferenceSession:
    """Open a graph on one thread of the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(PRECISE, str(int(precise)))
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ask(session: ort.InferenceSession, pixels: Pixels) -> tuple[Answers, float]:
    """Return probabilities and embedding of one photograph, and the seconds it took."""
    started = time.perf_counter()
    probabilities, embedding = session.run(["probabilities", "embedding"], {INPUT: pixels})
    return (probabilities[0], embedding[0]), time.perf_counter() - started


def error(reference: Sequence[Answers], found: Sequence[Answers]) -> float:
    """Return how far the embeddings are from those of the reference."""
    pairs = [(one[1], other[1]) for one, other in zip(reference, found, strict=True)]
    return float(
        sum(np.square(one - other).sum() for one, other in pairs) / sum(np.square(one).sum() for one, _ in pairs)
    )


def agreement(reference: Sequence[Answers], found: Sequence[Answers]) -> float:
    """Return the share of photographs with the same predicted class."""
    same = [one[0].argmax() == other[0].argmax() for one, other in zip(reference, found, strict=True)]
    return sum(map(int, same)) / len(same)


if __name__ == "__main__":
    main()
