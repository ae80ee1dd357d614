"""Hold an exported graph to the model it was made from, and to its accuracy on real photographs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import torch

from flowercli.errors import ExportError
from flowercli.inference.classifier import INPUT, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from flowercli.export.graph import DeployedClassifier

    Answer = Callable[[npt.NDArray[np.uint8]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]

FP32_TOLERANCE = 1e-4
BATCH_SIZES = (1, 3, 8)


@dataclass(frozen=True)
class Check:
    """How one exported file compares with torch on the same photographs.

    Differences are of probabilities; ``agreement`` is the share of photographs with the same predicted
    class; ``accuracy`` and ``drop`` are ``None`` without labelled photographs, ``drop`` in points.
    """

    file: str
    size: int
    method: str
    photos: int
    max_difference: float
    mean_difference: float
    agreement: float
    accuracy: float | None
    drop: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return asdict(self)


def torch_answers(model: DeployedClassifier) -> Answer:
    """Return the function that asks the torch model."""

    @torch.inference_mode()
    def answer(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        probabilities, embedding = model(torch.from_numpy(pixels))
        return probabilities.numpy(), embedding.numpy()

    return answer


def onnx_answers(path: Path) -> Answer:
    """Return the function that asks an ONNX file, on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def answer(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        probabilities, embedding = session.run(OUTPUTS, {INPUT: pixels})
        return probabilities, embedding

    return answer


def check_batches(name: str, exported: Answer, source: Answer, pixels: npt.NDArray[np.uint8]) -> None:
    """Compare both outputs at several batch sizes.

    Raises:
        ExportError: they differ by more than fp32 arithmetic does.
    """
    for size in BATCH_SIZES:
        batch = np.resize(pixels, (size, *pixels.shape[1:]))
        for output, ours, theirs in zip(OUTPUTS, exported(batch), source(batch), strict=True):
            # Probabilities are at most 1; embeddings are compared relative to their own size.
            difference = float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(theirs).max())))
            if not difference <= FP32_TOLERANCE:
                message = f"{name} differs from torch by {difference:.2e} in '{output}' at batch {size}"
                raise ExportError(f"{message}; the limit is {FP32_TOLERANCE:g}. Nothing was written.")


def compare(
    path: Path,
    name: str,
    method: str,
    reference: npt.NDArray[np.float32],
    pixels: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64] | None,
) -> Check:
    """Compare an exported file's answers with torch's.

    Args:
        path: the file.
        name: what it will be called.
        method: how it was made.
        reference: torch's probabilities ``[N, C]``.
        pixels: ``uint8`` ``[N, H, W, 3]``.
        targets: class indices ``[N]``, if known.
    """
    probabilities = ask_in_batches(onnx_answers(path), pixels)
    difference = np.abs(probabilities - reference)
    ours, theirs = probabilities.argmax(axis=1), reference.argmax(axis=1)
    accuracy = None if targets is None else float((ours == targets).mean())
    drop = None if targets is None else 100 * float((theirs == targets).mean() - (ours == targets).mean())
    return Check(
        file=name,
        size=path.stat().st_size,
        method=method,
        photos=len(pixels),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        agreement=float((ours == theirs).mean()),
        accuracy=accuracy,
        drop=drop,
    )


def ask_in_batches(answer: Answer, pixels: npt.NDArray[np.uint8], size: int = 8) -> npt.NDArray[np.float32]:
    """Return the probabilities ``[N, C]`` of many photographs."""
    starts: Sequence[int] = range(0, len(pixels), size)
    return np.concatenate([answer(pixels[start : start + size])[0] for start in starts])
