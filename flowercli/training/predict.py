"""Run a torch model over a dataset and keep its logits, for validation, calibration and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from flowercli.inference.calibration import softmax

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    from torch import Tensor

    from flowercli.training.model import PixelClassifier


@dataclass(frozen=True)
class Outputs:
    """Logits ``[N, C]`` ``float64`` and class indices of the targets ``[N]``."""

    logits: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float((self.logits.argmax(axis=1) == self.targets).mean())

    @property
    def log_loss(self) -> float:
        """Mean negative logarithm of the probability of the right class."""
        right = softmax(self.logits)[np.arange(len(self.targets)), self.targets]
        return float(-np.log(right.clip(1e-12)).mean())


@torch.inference_mode()
def predict(model: PixelClassifier, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Outputs:
    """Return the logits of every batch, computed in fp32."""
    model.eval()
    logits, targets = [], []
    for pixels, target in batches:
        logits.append(model(pixels.to(device))[0].double().cpu().numpy())
        targets.append(target.numpy())
    return Outputs(np.concatenate(logits), np.concatenate(targets))
