"""The head that is put behind a model: from its embedding to the evidence for each flower that it was taught.

Linear discriminant analysis on the signed square roots of the embedding: every flower, known or taught, has a mean, and
all share one matrix of how photographs of one flower differ, which a handful of photographs could not tell, but the
exemplars can. The evidence ``z`` for a taught flower is how much likelier it is than all that was known together. The
model's own probabilities keep their odds among each other: the new ones are a softmax over their logarithms and ``z``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flowercli.inference.calibration import softmax
from flowercli.inference.classifier import MORE_LIKELY_THAN_NOT
from flowercli.teaching.exemplars import LEAST_PROBABILITY
from flowercli.teaching.graph_edit import PREFIX, Addition, Node, before

Floats = npt.NDArray[np.floating[Any]]
# In the log odds of a taught flower, one of the discriminant: it is surer of itself than it should be.
SHARPNESS = 0.3
# Below it, a share is as good as none, and half precision of a logarithm still tells them apart.
LEAST_SHARE = 1e-30
# Added to the logarithm of a probability that is to be none.
NEVER = -1e4
PROBABILITIES, EMBEDDING, KNOWN = "probabilities", "embedding", "known"


def features(embedding: Floats) -> npt.NDArray[np.float64]:
    """Return what is compared of embeddings ``[N, D]``, ``[N, D]``: signed square roots, of length one.

    Of an average over a picture few values are large: their square roots are spread more evenly, as the analysis wants.
    """
    values = embedding.astype(np.float64)
    size = np.maximum(np.abs(values).sum(axis=1, keepdims=True), LEAST_PROBABILITY)
    found: npt.NDArray[np.float64] = np.sign(values) * np.sqrt(np.abs(values) / size)
    return found


def evidence(scores: Floats, taught: int) -> npt.NDArray[np.float64]:
    """Return how much likelier each of the last ``taught`` columns of discriminants ``[N, K]`` is than all before."""
    shares = softmax(scores.astype(np.float64))
    before_it = shares[:, : scores.shape[1] - taught].sum(axis=1, keepdims=True)
    found = np.log(np.maximum(shares[:, scores.shape[1] - taught :], LEAST_SHARE))
    result: npt.NDArray[np.float64] = SHARPNESS * (found - np.log(np.maximum(before_it, LEAST_SHARE)))
    return result


@dataclass(frozen=True)
class Head:
    """What was fitted, and which class each answer is.

    ``weight`` ``[D, K]`` and ``bias`` ``[K]`` are the discriminants of what was known, then of what was taught;
    ``offset`` ``[T]`` is added to the evidence for each of these. ``kept`` ``[C]`` says which of the model's classes
    may still be answered, and ``place`` ``[C + T]`` which class each becomes; what is not kept becomes none.
    """

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    kept: npt.NDArray[np.bool_]
    place: npt.NDArray[np.int64]

    @property
    def classes(self) -> int:
        """How many classes are answered."""
        return int(self.place.max()) + 1

    @property
    def sha256(self) -> str:
        """What tells heads apart."""
        digest = hashlib.sha256()
        for part in vars(self).values():
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def evidence(self, embedding: Floats) -> npt.NDArray[np.float64]:
        """Return the log odds of each taught flower ``[N, T]`` of embeddings ``[N, D]``."""
        return evidence(features(embedding) @ self.weight + self.bias, len(self.offset)) + self.offset

    def combined(
        self, found: Floats, log_probabilities: Floats, known: Floats
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the probabilities ``[N, classes]`` and how far each picture is known ``[N]``.

        Args:
            found: the evidence ``[N, T]``.
            log_probabilities: what the model said before ``[N, C]``.
            known: how far it knew the picture ``[N]``.
        """
        shares = softmax(np.concatenate([log_probabilities + np.where(self.kept, 0.0, NEVER), found], axis=1))
        among = np.exp(log_probabilities) @ self.kept
        taught = shares[:, len(self.kept) :].sum(axis=1)
        inside = known * np.minimum(among / MORE_LIKELY_THAN_NOT, 1.0)
        return shares @ self._places(), 1 - (1 - inside) * (1 - taught)

    def _places(self) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = (self.place[:, np.newaxis] == np.arange(self.classes)).astype(np.float64)
        return found

    def addition(self) -> Addition:
        """Return the same as nodes of ONNX."""
        taught, size = len(self.offset), len(self.kept)
        constants: dict[str, npt.NDArray[Any]] = {
            "ones": np.ones((len(self.weight), 1)),
            "tiny": np.array(LEAST_PROBABILITY),
            "least": np.array(LEAST_SHARE),
            "sharpness": np.array(SHARPNESS),
            "weight": self.weight,
            "bias": self.bias,
            "before": (np.arange(len(self.bias)) < len(self.bias) - taught)[:, np.newaxis],
            "which": np.eye(len(self.bias))[:, len(self.bias) - taught :],
            "offset": self.offset,
            "allowed": np.where(self.kept, 0.0, NEVER),
            "kept": self.kept[:, np.newaxis] / MORE_LIKELY_THAN_NOT,
            "one": np.array(1.0),
            "places": self._places(),
            "taught": (np.arange(size + taught) >= size)[:, np.newaxis],
        }
        nodes = [_node(*step) for step in STEPS]
        names = {f"{PREFIX}{name}": value for name, value in constants.items()}
        return Addition(tuple(nodes), names, {PROBABILITIES: self.classes, KNOWN: 1})


def _node(kind: str, inputs: str, output: str) -> Node:
    """Return a node of :data:`STEPS`: a name is of the addition, with ``@`` of the graph, ``@@`` its old output."""
    taken = tuple(_named(name) for name in inputs.split())
    return Node(kind, taken, _named(output), {"axis": 1} if kind in {"Softmax", "Concat"} else {})


def _named(name: str) -> str:
    if name.startswith("@@"):
        return before(name[2:])
    return name[1:] if name.startswith("@") else f"{PREFIX}{name}"


# Operators that every version of ONNX since 13 has alike; sums are products with ones.
STEPS = (
    ("Abs", "@embedding", "sizes"),
    ("MatMul", "sizes ones", "sum"),
    ("Max", "sum tiny", "whole"),
    ("Div", "sizes whole", "parts"),
    ("Sqrt", "parts", "roots"),
    ("Sign", "@embedding", "signs"),
    ("Mul", "signs roots", "features"),
    ("MatMul", "features weight", "products"),
    ("Add", "products bias", "scores"),
    ("Softmax", "scores", "shares"),
    ("MatMul", "shares which", "each"),
    ("MatMul", "shares before", "rest"),
    ("Max", "each least", "each_bounded"),
    ("Max", "rest least", "rest_bounded"),
    ("Log", "each_bounded", "each_log"),
    ("Log", "rest_bounded", "rest_log"),
    ("Sub", "each_log rest_log", "odds"),
    ("Mul", "odds sharpness", "softened"),
    ("Add", "softened offset", "evidence"),
    ("Max", "@@probabilities tiny", "old"),
    ("Log", "old", "old_log"),
    ("Add", "old_log allowed", "old_allowed"),
    ("Concat", "old_allowed evidence", "all_logs"),
    ("Softmax", "all_logs", "all"),
    ("MatMul", "all places", "@probabilities"),
    ("MatMul", "old kept", "among"),
    ("Min", "among one", "inside"),
    ("Mul", "@@known inside", "known_before"),
    ("MatMul", "all taught", "share_taught"),
    ("Sub", "one known_before", "unknown_before"),
    ("Sub", "one share_taught", "share_before"),
    ("Mul", "unknown_before share_before", "unknown"),
    ("Sub", "one unknown", "@known"),
)
