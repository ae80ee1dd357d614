"""What training minimises: cross-entropy, a contrastive loss on the embedding, and the teachers' answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody uses)
from pytorch_metric_learning.losses import ContrastiveLoss, SupConLoss, TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from torch import Tensor, nn

if TYPE_CHECKING:
    from flowercli.training.mixing import Batch
    from flowercli.training.model import PixelClassifier
    from flowercli.training.schema import DistillConfig, LossConfig


class Projection(nn.Module):
    """The small head that the contrastive loss looks through; thrown away after training."""

    def __init__(self, embedding_size: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(embedding_size, size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, embedding: Tensor) -> Tensor:
        """Map embeddings ``[N, D]`` to unit vectors ``[N, size]``."""
        return F.normalize(self.layers(embedding), dim=1)


class TrainingLoss(nn.Module):
    """The weighted sum of the three parts; its projection is trained with the model.

    ``class_counts`` ``[C]`` are the photographs of each class, for ``class_weights=balanced``.
    """

    def __init__(
        self, config: LossConfig, distill: DistillConfig, embedding_size: int, class_counts: Sequence[int]
    ) -> None:
        super().__init__()
        self.class_weights: Tensor | None
        weights = balanced_weights(class_counts) if config.class_weights == "balanced" else None
        self.register_buffer("class_weights", weights, persistent=False)
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
        loss = F.cross_entropy(logits, batch.soft_targets, weight=self.class_weights)
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
    return CONTRASTIVE_LOSSES[config.contrastive](config)


class HardTripletLoss(nn.Module):
    """Each picture against the farthest of its class and the nearest of another (Hermans et al., 2017)."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.miner = BatchHardMiner()
        self.loss = TripletMarginLoss(margin=margin)

    def forward(self, unit: Tensor, class_indices: Tensor) -> Tensor:
        """Return the loss of unit vectors ``[N, size]`` with targets ``[N]``."""
        loss: Tensor = self.loss(unit, class_indices, self.miner(unit, class_indices))
        return loss


CONTRASTIVE_LOSSES: dict[str, Callable[[LossConfig], nn.Module]] = {
    # Hadsell et al., 2006.
    "contrastive": lambda config: ContrastiveLoss(pos_margin=0.0, neg_margin=config.margin),
    # Khosla et al., 2020.
    "supcon": lambda config: SupConLoss(temperature=config.temperature),
    "triplet": lambda config: HardTripletLoss(config.margin),
}


def balanced_weights(class_counts: Sequence[int]) -> Tensor:
    """Return weights ``[C]`` inverse to the classes' sizes, 1 on average over the photographs.

    As scikit-learn's ``class_weight="balanced"`` (King and Zeng, 2001).
    """
    counts = torch.tensor(class_counts, dtype=torch.float32).clamp(min=1)
    return counts.sum() / (len(counts) * counts)


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened answers, times T² (Hinton et al., 2015, section 2.1)."""
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


@torch.no_grad()
def ask_teachers(teachers: Sequence[PixelClassifier], pixels: Tensor) -> Tensor | None:
    """Return the teachers' mean logits for the very pixels the student sees; ``None`` without teachers.

    ``[N, C]``, or ``[N, C + 1]`` with "none of these".
    """
    if not teachers:
        return None
    return torch.stack([teacher.with_none(*teacher(pixels)).float() for teacher in teachers]).mean(dim=0)
