"""Run a torch model over a dataset and keep its logits, for validation, calibration and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flowercli.data.shards import photographs
from flowercli.inference.calibration import softmax
from flowercli.progress import Advance, untold
from flowercli.training.dataset import PhotoDataset
from flowercli.training.loading import PhotoLoader

if TYPE_CHECKING:
    from flowercli.data.manifest import Entry
    from flowercli.training.model import PixelClassifier

BATCH = 32


@dataclass(frozen=True)
class Outputs:
    """Logits ``[N, C]`` ``float64``, embeddings ``[N, D]`` ``float32``, class indices of the targets ``[N]``."""

    logits: npt.NDArray[np.float64]
    embeddings: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]

    @property
    def answers(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        """Logits and embeddings: what a model says without being told what is right."""
        return self.logits, self.embeddings

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether each answer is right, ``[N]``."""
        right: npt.NDArray[np.bool_] = self.logits.argmax(axis=1) == self.targets
        return right

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    @property
    def log_loss(self) -> float:
        """Mean negative logarithm of the probability of the right class."""
        right = softmax(self.logits)[np.arange(len(self.targets)), self.targets]
        return float(-np.log(right.clip(1e-12)).mean())

    @classmethod
    def dealt(cls, shares: Sequence[Outputs]) -> Self:
        """Return the outputs for all photographs, which were dealt out one by one, of the outputs for each share."""
        whole = [np.concatenate([getattr(share, each.name) for share in shares]) for each in fields(cls)]
        for values, each in zip(whole, fields(cls), strict=True):
            for rank, share in enumerate(shares):
                values[rank :: len(shares)] = getattr(share, each.name)
        return cls(*whole)


def predict_photos(
    model: PixelClassifier, root: Path, photos: Sequence[Entry], class_names: Sequence[str], advance: Advance = untold
) -> Outputs:
    """Return the outputs for photographs below ``root``."""
    loader = PhotoLoader(PhotoDataset.of(root, photos, class_names, model.spec), BATCH)
    told = _told(loader, partial(advance, f"Asking about {root.name}", len(photos)))
    return predict(model, told, next(model.parameters()).device)


def predict_outliers(
    model: PixelClassifier, root: Path, outliers: Sequence[Entry], advance: Advance = untold
) -> Outputs:
    """Return the outputs for outliers below ``root``; their targets are one class behind all classes."""
    photos = PhotoDataset(photographs(root, outliers), [model.num_classes] * len(outliers), model.spec)
    loader = PhotoLoader(photos, BATCH)
    told = _told(loader, partial(advance, f"Asking about {root.name}", len(outliers)))
    return predict(model, told, next(model.parameters()).device)


def _told(batches: Iterable[tuple[Tensor, Tensor]], asked: Callable[[int], None]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches, and tell after each how many photographs it had."""
    for pixels, targets in batches:
        yield pixels, targets
        asked(len(targets))


@torch.inference_mode()
def predict(model: PixelClassifier, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Outputs:
    """Return the outputs for every batch, computed in fp32."""
    model.eval()
    # A process may have nothing to ask about.
    logits: list[npt.NDArray[np.float64]] = [np.zeros((0, model.num_classes))]
    embeddings: list[npt.NDArray[np.float32]] = [np.zeros((0, model.embedding_size), np.float32)]
    targets: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for pixels, target in batches:
        batch_logits, batch_embeddings = model(pixels.to(device))
        logits.append(batch_logits.double().cpu().numpy())
        embeddings.append(batch_embeddings.float().cpu().numpy())
        targets.append(target.numpy())
    return Outputs(np.concatenate(logits), np.concatenate(embeddings), np.concatenate(targets))
