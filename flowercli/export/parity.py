"""Hold an exported graph to the model it was made from, and to its accuracy on real photographs.

Each form of the graph has a module with ``write``, which takes a :class:`Job` and returns what was :class:`Made`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from flowercli.bundle import Bundle
from flowercli.errors import ExportError
from flowercli.evaluation.intervals import share
from flowercli.export.check import Check
from flowercli.inference.classifier import OUTPUTS, Classifier, Outputs
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    from flowercli.evaluation.bundle_data import BundleData
    from flowercli.export.engine_process import Tick
    from flowercli.export.graph import DeployedClassifier

Answer = Callable[[npt.NDArray[np.uint8]], Outputs]
FP32_TOLERANCE = 1e-4
BATCH_SIZES = (1, 3, 8)
TORCH_BATCH = 8


@dataclass(frozen=True)
class TorchAnswers:
    """What the exports are held to: torch's answers on the validation photographs.

    ``pixels`` are ``uint8`` ``[N, H, W, 3]``, ``targets`` class indices ``[N]``, ``probabilities`` ``[N, C]``.
    """

    pixels: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]

    @property
    def right(self) -> int:
        """The number of photographs that torch is right about."""
        return int((self.probabilities.argmax(axis=1) == self.targets).sum())


@dataclass(frozen=True)
class Job:
    """What a writer is given: the bundle, its photographs, and the folder for the files, which has the fp32 graph.

    ``say`` is called with what is begun, ``advance`` as its parts are done, ``tick`` each second where none are seen.
    """

    bundle: Bundle
    data: BundleData
    folder: Path
    source: TorchAnswers
    max_drop: float | None
    say: Callable[[str], None]
    advance: Advance
    tick: Tick

    def compared(self, file: str, method: str, answer: Answer | None = None) -> Check:
        """Compare a file in the folder, which ``method`` made, with torch."""
        path = self.folder / file
        answer = answer or onnx_answers(path, self.bundle)
        return compare(answer, path, file, method, self.source, self.advance)


@dataclass(frozen=True)
class Made:
    """How each attempt at a file compares, the last of which counts, and what else its bundle records of it."""

    attempts: list[Check]
    facts: dict[str, Any] = field(default_factory=dict)


def torch_answers(model: DeployedClassifier) -> Answer:
    """Return the function that asks the torch model."""

    @torch.inference_mode()
    def answer(pixels: npt.NDArray[np.uint8]) -> Outputs:
        probabilities, embedding, known = (output.numpy() for output in model(torch.from_numpy(pixels)))
        return Outputs(probabilities, embedding, known[:, 0])

    return answer


def onnx_answers(path: Path, bundle: Bundle) -> Answer:
    """Return the function that asks an ONNX file, as ``classify`` does on one thread of the CPU."""
    return Classifier.open(Bundle(path, bundle.config), "cpu").run


def ask_torch(
    pixels: npt.NDArray[np.uint8], targets: npt.NDArray[np.int64], answer: Answer, advance: Advance = untold
) -> TorchAnswers:
    """Ask torch about the photographs ``[N, H, W, 3]``."""
    probabilities = []
    for start in range(0, len(pixels), TORCH_BATCH):
        probabilities.append(answer(batch := pixels[start : start + TORCH_BATCH]).probabilities)
        advance("Asking torch", len(pixels), len(batch))
    return TorchAnswers(pixels, targets, np.concatenate(probabilities))


def check_batches(
    name: str, exported: Answer, source: Answer, pixels: npt.NDArray[np.uint8], sizes: Sequence[int] = BATCH_SIZES
) -> None:
    """Compare all outputs at several batch sizes.

    Raises:
        ExportError: they differ by more than fp32 arithmetic does.
    """
    for size in sizes:
        batch = np.resize(pixels, (size, *pixels.shape[1:]))
        for output, ours, theirs in zip(OUTPUTS, exported(batch), source(batch), strict=True):
            # Probabilities and 'known' are at most 1; embeddings are compared relative to their own size.
            difference = float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(theirs).max())))
            if not difference <= FP32_TOLERANCE:
                message = f"{name} differs from torch by {difference:.2e} in '{output}' at batch {size}"
                raise ExportError(f"{message}; the limit is {FP32_TOLERANCE:g}. Nothing was written.")


def compare(
    answer: Answer, path: Path, name: str, method: str, source: TorchAnswers, advance: Advance = untold
) -> Check:
    """Compare an exported file's answers with torch's, one photograph at a time, and take the time of each.

    Args:
        answer: asks the file.
        path: the file.
        name: what it will be called.
        method: how it was made.
        source: torch's answers.
        advance: called after each photograph.

    Raises:
        ExportError: an answer is not a number: half precision has overflowed.
    """
    probabilities, seconds = _timed(
        answer, source.pixels, partial(advance, f"Comparing {name} with torch", len(source.pixels))
    )
    if not np.isfinite(probabilities).all():
        raise ExportError(f"{name} gives answers that are not numbers. Nothing was written.")
    difference = np.abs(probabilities - source.probabilities)
    predictions = probabilities.argmax(axis=1)
    photos, right = len(predictions), int((predictions == source.targets).sum())
    return Check(
        file=name,
        size=path.stat().st_size,
        method=method,
        photos=photos,
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        agreement=float((predictions == source.probabilities.argmax(axis=1)).mean()),
        accuracy=share(right, photos),
        drop=100 * (source.right - right) / photos,
        latency_ms=round(1000 * float(np.median(seconds)), 3),
    )


def _timed(
    answer: Answer, pixels: npt.NDArray[np.uint8], asked: Callable[[], None]
) -> tuple[npt.NDArray[np.float32], list[float]]:
    """Return the probabilities ``[N, C]`` and the seconds of each photograph."""
    rows, seconds = [], []
    for picture in pixels:
        started = time.perf_counter()
        probabilities = answer(picture[np.newaxis]).probabilities
        seconds.append(time.perf_counter() - started)
        rows.append(probabilities[0])
        asked()
    return np.stack(rows), seconds
