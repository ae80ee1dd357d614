"""How sure a model is that a picture shows one of its flowers: one number, between two other explanations.

The picture may show no flower: what the network says of that is learnt. With outliers in the training data it has one
logit more, of "none of these" (outlier exposure; Hendrycks, Mazeika and Dietterich, 2019). Or it may show a flower that
the network was never taught, of which there are no examples: then its largest logit is low (Vaze et al., 2022), and the
logits are not those of its class (``training.typical``). With ``u`` and ``v`` the evidence against each, the number is
the share of the first in a softmax over ``0, -u, -v``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flowercli.errors import BundleError
from flowercli.training.typical import Typical

Floats = npt.NDArray[np.floating[Any]]

STORED_DTYPE = np.dtype("<f4")
# The evidence against another flower: zero where one in a hundred of the known ones lies, and one and a half times the
# distance from there in standard deviations.
FEW, STEEPNESS = 0.01, 1.5
# Of one photograph, or of copies, logits do not vary: what is said then must not hang on the last digit of a logit, in
# which an export differs.
LEAST_DEVIATION = 0.1
# Said in favour of a flower, in log odds. Nearly all pictures without one are far below, so it costs little there, and
# leaves the photographs that are refused at the threshold to those that may show a flower never taught.
IN_FAVOUR = 3.0


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
        return embeddings.astype(np.float64) @ self.weight + self.bias


@dataclass(frozen=True)
class Known:
    """From logits and embeddings to the number.

    ``another`` makes of the largest logit, and of ``share`` times how ``typical`` all are, the evidence against a
    flower never taught; ``nothing``, of how far that logit is above ``none``, the evidence against no flower at all.
    ``none`` and ``nothing`` are ``None`` without outliers, ``typical`` where it was not fitted.
    """

    another: Line
    none: NoneLogit | None = None
    nothing: Line | None = None
    typical: Typical | None = None
    share: float = 0.0

    @classmethod
    def fit(
        cls,
        none: NoneLogit | None,
        flowers: tuple[Floats, Floats],
        others: tuple[Floats, Floats] | None,
        typical: Typical | None = None,
    ) -> Self:
        """Fit it on pictures that were not trained on.

        Args:
            none: the layer of "none of these", if the model was trained with outliers.
            flowers: logits ``[N, C]`` and embeddings ``[N, D]`` of photographs of the classes.
            others: the same of outliers; both kinds count the same, whatever their numbers.
            typical: what was fitted to photographs of training.
        """
        # Both parts of the score vary alike among flowers.
        share = 0.0 if typical is None else _deviation(flowers[0].max(axis=1)) / _deviation(typical(flowers[0]))
        score = cls(Line(1.0, 0.0), typical=typical, share=share).score(flowers[0])
        scale = STEEPNESS / _deviation(score)
        another = Line(scale, -scale * float(np.quantile(score, FEW)))
        if none is None or others is None:
            return cls(another, typical=typical, share=share)
        return cls(another, none, _told_apart(_above(none, *flowers), _above(none, *others)), typical, share)

    def score(self, logits: Floats) -> npt.NDArray[np.float64]:
        """Return what is low for flowers never taught, ``[N]``, of logits ``[N, C]``."""
        top: npt.NDArray[np.float64] = logits.max(axis=1).astype(np.float64)
        return top if self.typical is None else top + self.share * self.typical(logits)

    def __call__(self, logits: Floats, embeddings: Floats) -> npt.NDArray[np.float64]:
        """Return the number ``[N]``, 0…1, of logits ``[N, C]`` and embeddings ``[N, D]``."""
        against = np.exp(-_on(self.another, self.score(logits)))
        if self.none is not None and self.nothing is not None:
            against += np.exp(-_on(self.nothing, _above(self.none, logits, embeddings)))
        return 1 / (1 + against)

    def to_json(self) -> dict[str, Any]:
        """Return the form that ``config.json`` holds: the weight as base64 of little-endian float32."""
        value: dict[str, Any] = {"another": list(self.another), "none": None}
        if self.typical is not None:
            value |= {"typical": self.typical.to_json(), "share": self.share}
        if self.none is None or self.nothing is None:
            return value
        weight = base64.b64encode(self.none.weight.astype(STORED_DTYPE).tobytes()).decode("ascii")
        return {**value, "none": {"weight": weight, "bias": self.none.bias}, "nothing": list(self.nothing)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], size: int) -> Self:
        """Read the form that ``config.json`` holds, for embeddings of ``size`` values.

        Raises:
            BundleError: it is damaged.
        """
        try:
            another = _line(value["another"])
            typical = Typical.from_json(value["typical"]) if "typical" in value else None
            share = 0.0 if typical is None else float(value["share"])
            if value["none"] is None:
                return cls(another, typical=typical, share=share)
            weight = np.frombuffer(base64.b64decode(value["none"]["weight"], validate=True), dtype=STORED_DTYPE)
            none = NoneLogit(weight.reshape(size).astype(np.float32), float(value["none"]["bias"]))
            return cls(another, none, _line(value["nothing"]), typical, share)
        except (KeyError, TypeError, ValueError, OverflowError, binascii.Error) as error:
            raise BundleError(f"The description of the bundle is damaged: known: {error}.") from error


def _deviation(values: Floats) -> float:
    return max(float(values.std()), LEAST_DEVIATION)


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
