"""How sure a model is that a picture shows one of its flowers: one number, between two other explanations.

The picture may show no flower: what the network says of that is learnt. With outliers in the training data it has one
logit more, of "none of these" (outlier exposure; Hendrycks, Mazeika and Dietterich, 2019). Or it may show a flower that
the network was never taught, of which there are no examples: then its largest logit is low (Vaze et al., 2022). With
``u`` and ``v`` the evidence against each, the number is the share of the first in a softmax over ``0, -u, -v``.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from flowercli.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Floats = npt.NDArray[np.floating[Any]]

STORED_DTYPE = np.dtype("<f4")
# The evidence against another flower: zero where one in a hundred of the known ones lies, and twice the distance from
# there in standard deviations.
FEW, STEEPNESS = 0.01, 2.0
# Said in favour of a flower, in log odds. Nearly all pictures without one are far below, so it costs little there, and
# leaves the photographs that are refused at the threshold to those that may show a flower never taught.
IN_FAVOUR = 4.0


class Line(NamedTuple):
    """``scale * x + offset``."""

    scale: float
    offset: float


@dataclass(frozen=True)
class NoneLogit:
    """The linear layer from the embedding to the logit of "none of these": ``weight`` ``[D]`` and ``bias``."""

    weight: npt.NDArray[np.float32]
    bias: float

    def __call__(self, embeddings: Floats) -> npt.NDArray[np.float64]:
        """Return the logits ``[N]`` of embeddings ``[N, D]``."""
        logits: npt.NDArray[np.float64] = embeddings.astype(np.float64) @ self.weight + self.bias
        return logits


@dataclass(frozen=True)
class Known:
    """From logits and embeddings to the number.

    ``another`` makes of the largest logit the evidence against a flower never taught; ``nothing``, of how far that
    logit is above ``none``, the evidence against no flower at all. The last two are ``None`` without outliers.
    """

    another: Line
    none: NoneLogit | None = None
    nothing: Line | None = None

    @classmethod
    def fit(cls, none: NoneLogit | None, flowers: tuple[Floats, Floats], others: tuple[Floats, Floats] | None) -> Self:
        """Fit it on pictures that were not trained on.

        Args:
            none: the layer of "none of these", if the model was trained with outliers.
            flowers: logits ``[N, C]`` and embeddings ``[N, D]`` of photographs of the classes.
            others: the same of outliers; both kinds count the same, whatever their numbers.
        """
        top = flowers[0].max(axis=1)
        scale = STEEPNESS / max(float(top.std()), 1e-6)
        another = Line(scale, -scale * float(np.quantile(top, FEW)))
        if none is None or others is None:
            return cls(another)
        return cls(another, none, _told_apart(_above(none, *flowers), _above(none, *others)))

    def __call__(self, logits: Floats, embeddings: Floats) -> npt.NDArray[np.float64]:
        """Return the number ``[N]``, 0…1, of logits ``[N, C]`` and embeddings ``[N, D]``."""
        against = np.exp(-_on(self.another, logits.max(axis=1)))
        if self.none is not None and self.nothing is not None:
            against += np.exp(-_on(self.nothing, _above(self.none, logits, embeddings)))
        number: npt.NDArray[np.float64] = 1 / (1 + against)
        return number

    def to_json(self) -> dict[str, Any]:
        """Return the form that ``config.json`` holds: the weight as base64 of little-endian float32."""
        if self.none is None or self.nothing is None:
            return {"another": list(self.another), "none": None}
        weight = base64.b64encode(self.none.weight.astype(STORED_DTYPE).tobytes()).decode("ascii")
        none = {"weight": weight, "bias": self.none.bias}
        return {"another": list(self.another), "none": none, "nothing": list(self.nothing)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], size: int) -> Self:
        """Read the form that ``config.json`` holds, for embeddings of ``size`` values.

        Raises:
            BundleError: it is damaged.
        """
        try:
            another = _line(value["another"])
            if value["none"] is None:
                return cls(another)
            weight = np.frombuffer(base64.b64decode(value["none"]["weight"], validate=True), dtype=STORED_DTYPE)
            none = NoneLogit(weight.reshape(size).astype(np.float32), float(value["none"]["bias"]))
            return cls(another, none, _line(value["nothing"]))
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise BundleError(f"The description of the bundle is damaged: known: {error}.") from error


def _above(none: NoneLogit, logits: Floats, embeddings: Floats) -> npt.NDArray[np.float64]:
    """Return how far the largest logit of each picture is above that of "none of these", ``[N]``."""
    above: npt.NDArray[np.float64] = logits.max(axis=1) - none(embeddings)
    return above


def _told_apart(flowers: Floats, others: Floats) -> Line:
    from sklearn.linear_model import LogisticRegression

    shows_flower = np.repeat([1, 0], [len(flowers), len(others)])
    fitted = LogisticRegression(class_weight="balanced", C=1e3)
    fitted.fit(np.concatenate([flowers, others])[:, np.newaxis], shows_flower)
    return Line(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]) + IN_FAVOUR)


def _on(line: Line, values: Floats) -> npt.NDArray[np.float64]:
    """Return the points of a line, kept where their exponentials are finite."""
    points: npt.NDArray[np.float64] = np.clip(line.scale * values + line.offset, -80, 80).astype(np.float64)
    return points


def _line(value: Any) -> Line:
    scale, offset = value
    return Line(float(scale), float(offset))
