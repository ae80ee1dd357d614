"""The classifier: a bundle, opened; pixels in, answers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from flowercli.errors import UsageError
from flowercli.inference.novelty import Novelty
from flowercli.inference.preprocess import INPUT, Picture, PreprocessSpec, load_picture
from flowercli.inference.session import open_session

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt
    import onnxruntime as ort

    from flowercli.bundle import Bundle
    from flowercli.inference.session import Runtime

OUTPUTS = ("probabilities", "embedding")
DIGITS = 6


class Prediction(NamedTuple):
    """The answer for one picture. ``all_predictions`` is sorted, most probable first."""

    predicted_class: str
    class_index: int
    confidence: float
    all_predictions: dict[str, float]
    rejected: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return self._asdict()


class Classifier:
    """Answers about pictures with one onnxruntime session. Safe to call from several threads."""

    def __init__(self, bundle: Bundle, session: ort.InferenceSession, runtime: Runtime) -> None:
        self.bundle = bundle
        self.runtime = runtime
        self.spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
        self._session = session
        self._class_names = bundle.class_names
        self._threshold = bundle.rejection_threshold
        stored = bundle.section.get("novelty")
        # Optional: a bundle may have been made without.
        self._novelty = None if stored is None else Novelty.from_json(stored, bundle.section["embedding_size"])

    @classmethod
    def open(cls, bundle: Bundle, device: str | None = None, *, threads: int = 1) -> Self:
        """Open a bundle on a device; without one, on what ``FLOWERS_DEVICE`` says, or the best.

        Raises:
            DeviceError: the device cannot be had.
            BundleError: the bundle has no graph, or an altered one.
        """
        session, runtime = open_session(bundle, device, threads=threads)
        return cls(bundle, session, runtime)

    def classify(self, source: str | os.PathLike[str] | bytes, top_k: int | None = None) -> Prediction:
        """Answer about one picture, given as a path or as the bytes of a file.

        Raises:
            ImageError: the picture cannot be read.
        """
        return self.answer([self.load(source)], top_k)[0]

    def load(self, source: str | os.PathLike[str] | bytes) -> Picture:
        """Decode a picture, given as a path or as the bytes of a file, to what the model takes.

        Raises:
            ImageError: the picture cannot be read.
        """
        return load_picture(source, self.spec)

    def answer(self, pictures: Sequence[Picture], top_k: int | None = None) -> list[Prediction]:
        """Answer about pictures, each a batch of its own."""
        return [answer for answer, _ in self.answer_and_embed(pictures, top_k)]

    def answer_and_embed(
        self, pictures: Sequence[Picture], top_k: int | None = None
    ) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Answer about pictures, and return the embedding ``[D]`` of each beside its answer.

        A run of the network leaves the caches of the CPU without anything of Python: it is started for one picture
        after the other, and only then is said what came of them.
        """
        outputs = [self.run(picture.pixels[np.newaxis]) for picture in pictures]
        return [
            (self.prediction(probabilities[0], embedding[0], top_k), embedding[0])
            for probabilities, embedding in outputs
        ]

    def run(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run the graph on ``uint8`` pixels ``[N, H, W, 3]``.

        Returns:
            Probabilities ``[N, C]`` and embedding ``[N, D]``, both ``float32``.
        """
        probabilities, embedding = self._session.run(OUTPUTS, {INPUT: pixels})
        return probabilities, embedding

    def prediction(
        self, probabilities: npt.NDArray[np.float32], embedding: npt.NDArray[np.float32], top_k: int | None = None
    ) -> Prediction:
        """Put the probabilities ``[C]`` and the embedding ``[D]`` of one picture into words."""
        order = np.argsort(-probabilities, kind="stable").tolist()
        values = probabilities.tolist()
        best = order[0]
        return Prediction(
            predicted_class=self._class_names[best],
            class_index=best,
            confidence=round(values[best], DIGITS),
            all_predictions={self._class_names[index]: round(values[index], DIGITS) for index in order[:top_k]},
            rejected=values[best] < self._threshold or self._is_novel(embedding),
        )

    def _is_novel(self, embedding: npt.NDArray[np.float32]) -> bool:
        return self._novelty is not None and self._novelty.is_novel(embedding)


def check_top_k(top_k: int | None) -> None:
    """Refuse a number of classes that cannot be shown.

    Raises:
        UsageError: it is below one.
    """
    if top_k is not None and top_k < 1:
        raise UsageError(f"--top-k {top_k}: at least 1.")
