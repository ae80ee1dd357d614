"""Static int8 quantization of an exported graph, in QDQ form, calibrated on training photographs."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from flowercli.bundle import ONNX, ONNX_INT8, Bundle
from flowercli.data.shards import Photographs, photographs
from flowercli.evaluation.bundle_data import pixels_of
from flowercli.export.fold_normalisation import bypass_quantization, fold_normalisation
from flowercli.export.graph import float_nodes, write_model
from flowercli.export.parity import Job, Made
from flowercli.export.rounding import compensate_rounding, second_moments
from flowercli.inference.preprocess import INPUT, PreprocessSpec
from flowercli.inference.session import BITS_THAT_FIT
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from flowercli.export.check import Check

# How the range of each activation is found. Tried in this order until one keeps the accuracy: the
# extremes suit bounded activations (ReLU6), percentiles the long tails of SiLU.
CALIBRATIONS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {"CalibMovingAverage": True}),
    "percentile": (CalibrationMethod.Percentile, {"CalibPercentile": 99.99}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
# What `reduce_range` gives: as many as a session may take for granted not to overflow.
WEIGHT_BITS = BITS_THAT_FIT
CALIBRATION_PHOTOS = 200
CALIBRATION_BATCH = 20
# Some of the batches: onnxruntime's histograms first keep every activation of all they see. Those of ReXNet-150 take
# 12 GB for 80 photographs, and more than 24 GB for 200.
HISTOGRAM_BATCHES = 2


def write(job: Job) -> Made:
    """Quantize with one calibration after the other until one keeps the accuracy."""
    spec = PreprocessSpec.from_pretrained_cfg(job.bundle.pretrained_cfg)
    photos = photographs(job.data.root, job.data.photos("train"))
    batches = calibration_batches(photos, spec, job.advance)
    quantizer = Quantizer(job.bundle, job.folder / ONNX, batches, job.advance)
    attempts: list[Check] = []
    for method in CALIBRATIONS:
        job.say(f"Quantizing to int8, calibrated by {method}")
        quantizer.write(method, job.folder / ONNX_INT8)
        attempts.append(replace(job.compared(ONNX_INT8, method), weight_bits=WEIGHT_BITS))
        if attempts[-1].keeps_accuracy(job.max_drop):
            break
    return Made(attempts)


class PhotoReader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Feeds batches of preprocessed photographs to onnxruntime's calibration."""

    def __init__(self, batches: Sequence[npt.NDArray[np.uint8]], advance: Advance) -> None:
        self._batches, self._count, self._advance = iter(batches), len(batches), advance

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Return the next feed, or ``None`` at the end."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        self._advance("Calibrating", self._count)
        return {INPUT: batch}


def calibration_batches(
    photos: Photographs, spec: PreprocessSpec, advance: Advance = untold
) -> list[npt.NDArray[np.uint8]]:
    """Load photographs spread evenly over the list, in batches ``[N, H, W, 3]``."""
    import numpy as np

    step = max(1, len(photos) // CALIBRATION_PHOTOS)
    chosen = range(len(photos))[::step][:CALIBRATION_PHOTOS]
    size = min(CALIBRATION_BATCH, len(chosen))
    # Full batches only: the histogram calibrations cannot stack a shorter last one.
    whole = len(chosen) - len(chosen) % size
    pixels = []
    for place in chosen[:whole]:
        pixels.append(pixels_of(photos, place, spec))
        advance("Reading photographs", whole)
    return [np.stack(pixels[start : start + size]) for start in range(0, whole, size)]


class Quantizer:
    """Makes int8 versions of one graph: weights per channel in ``int8``, activations in ``uint8``.

    The weights take seven of the eight bits. An x86 CPU without VNNI adds two products of ``uint8`` and ``int8`` in 16
    bits, which saturate with eight: answers are wrong there, or take 1.4 times as long (``inference.session``).
    """

    def __init__(
        self, bundle: Bundle, fp32: Path, batches: Sequence[npt.NDArray[np.uint8]], advance: Advance = untold
    ) -> None:
        """Prepare the graph, and observe what its layers see.

        Args:
            bundle: whose description the versions carry.
            fp32: the graph; a prepared one is left beside it.
            batches: of :func:`calibration_batches`.
            advance: called after each batch and layer.
        """
        self._bundle, self._batches, self._advance = bundle, batches, advance
        self._prepared = fp32.with_name("prepared.onnx")
        with _quiet_quantizer():
            quant_pre_process(str(fp32), str(self._prepared), skip_symbolic_shape=True)
        self._source = onnx.load(str(self._prepared))
        self._folded = fold_normalisation(self._source.graph)
        onnx.save_model(self._source, str(self._prepared))
        self._moments = second_moments(self._source, batches, advance)

    def write(self, method: str, target: Path) -> None:
        """Write the version whose activations have the ranges that a method of ``CALIBRATIONS`` finds."""
        calibration, options = CALIBRATIONS[method]
        batches = self._batches
        if calibration != CalibrationMethod.MinMax:
            batches = batches[:: -(-len(batches) // HISTOGRAM_BATCHES)]
        if self._folded is not None:
            options = options | {"TensorQuantOverrides": {self._folded.tensor: [self._folded.quantization()]}}
        with _quiet_quantizer():
            quantize_static(
                str(self._prepared),
                str(target),
                PhotoReader(batches, self._advance),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=calibration,
                nodes_to_exclude=float_nodes(self._source.graph),
                extra_options=options,
            )
        proto = onnx.load(str(target))
        compensate_rounding(proto, self._source, self._moments, self._advance)
        if self._folded is not None:
            bypass_quantization(proto.graph, self._folded)
        write_model(proto, self._bundle, target)


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Keep onnxruntime's quantizer off stdout, where the results go, and off the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
