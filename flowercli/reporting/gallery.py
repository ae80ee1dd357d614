"""The photographs about which the model was most sure and wrong, as small pictures for a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flowercli.inference.preprocess import load_upright

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowercli.evaluation.answers import Answers
    from flowercli.inference.decode import File

MOST = 24
SIDE = 160
QUALITY = 80


@dataclass(frozen=True)
class Mistake:
    """One wrongly named photograph: its path in the dataset, what it is, what was said, and how surely (0…1)."""

    path: str
    is_: str
    named: str
    confidence: float


def confident_mistakes(answers: Answers, class_names: Sequence[str], most: int = MOST) -> list[Mistake]:
    """Return the wrong answers, the surest first, at most ``most``."""
    confidence = answers.probabilities.max(axis=1)
    wrong = np.flatnonzero(~answers.right)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    targets, predictions = answers.targets, answers.predictions
    return [
        Mistake(answers.paths[i], class_names[targets[i]], class_names[predictions[i]], float(confidence[i]))
        for i in surest
    ]


def thumbnail(source: File) -> str:
    """Return a photograph as the ``data:`` address of a JPEG, 160 pixels high and at most twice as wide.

    Raises:
        ImageError: the photograph cannot be read.
    """
    image = load_upright(source, SIDE)
    image.thumbnail((2 * SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
