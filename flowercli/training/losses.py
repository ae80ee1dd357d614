"""What training minimises: cross-entropy, a contrastive loss on the embedding, and the teachers' answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody uses)
from pytorch_metric_learning.losses import ContrastiveLoss, SupConLoss
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowercli.training.config import DistillConfig, LossConfig
    from flowercli.training.mixing import Batch
    from flowercli.training.model import PixelClassifier


class Projection(nn.Module):
    """The small head that the contrastive loss looks through; thrown away after training."""

    def __init__(self, embedding_size: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(embedding_size, size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, embedding: Tensor) -> Tensor:
        """Map embeddings ``[N, D]`` to unit vectors ``[N, size]``."""
        return F.normalize(self.layers(embedding), dim=1)


class TrainingLoss(nn.Module):
    """The weighted sum of the three parts; its projection is trained with the model."""

    def __init__(self, config: LossConfig, distill: DistillConfig, embedding_size: int) -> None:
        super().__init__()
        self.config = config
        self.distill = distill
        self.contrastive = contrastive_loss(config)
        self.projection = Projection(embedding_size, config.projection_size) if self.contrastive else None

    def forward(self, logits: Tensor, embedding: Tensor, batch: Batch, teacher_logits: Tensor | None) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            logits: ``[N, C]`` ``float32``.
            embedding: ``[N, D]`` ``float32``.
            batch: the targets.
            teacher_logits: ``[N, C]``, or ``None`` without teachers.
        """
        loss = F.cross_entropy(logits, batch.soft_targets)
        if teacher_logits is not None:
            weight = self.distill.weight
            loss = (1 - weight) * loss + weight * distillation_loss(logits, teacher_logits, self.distill.temperature)
        # A mixture of two classes belongs to neither: it has no pairs.
        if self.contrastive is not None and self.projection is not None and batch.class_indices is not None:
            pairs_loss = self.contrastive(self.projection(embedding), batch.class_indices)
            loss = loss + self.config.contrastive_weight * pairs_loss
        return loss


def contrastive_loss(config: LossConfig) -> nn.Module | None:
    """Return the contrastive loss of the configuration, on unit vectors ``[N, size]`` and class indices ``[N]``."""
    if config.contrastive == "none" or config.contrastive_weight == 0:
        return None
    loss: nn.Module = (
        SupConLoss(temperature=config.temperature)
        if config.contrastive == "supcon"
        else ContrastiveLoss(pos_margin=0.0, neg_margin=config.margin)
    )
    return loss


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened answers, times T² (Hinton et al., 2015, section 2.1)."""
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


@torch.no_grad()
def ask_teachers(teachers: Sequence[PixelClassifier], pixels: Tensor) -> Tensor | None:
    """Return the teachers' mean logits ``[N, C]`` for the very pixels the student sees; ``None`` without teachers."""
    if not teachers:
        return None
    return torch.stack([teacher(pixels)[0].float() for teacher in teachers]).mean(dim=0)
