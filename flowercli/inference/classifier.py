"""The classifier: a bundle, opened; pixels in, answers out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from flowercli.errors import BundleError, UsageError
from flowercli.inference import DEFAULT_TOP_K as DEFAULT_TOP_K  # noqa: PLC0414  (it is part of what is offered here)
from flowercli.inference.graph_check import EXPORT, check_graph
from flowercli.inference.preprocess import INPUT, Picture, PreprocessSpec, load_picture
from flowercli.inference.session import CPU, open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from flowercli.bundle import Bundle
    from flowercli.inference.batches import Gathering
    from flowercli.inference.decode import Source
    from flowercli.inference.on_device import Pixels
    from flowercli.inference.session import Runtime, Session

OUTPUTS = ("probabilities", "embedding", "known")
DIGITS = 6
# How far half precision may be from a probability.
ROUNDED = 0.01
# Why an answer is rejected: more likely one of the flowers than not, but not surely enough; or more likely none.
UNSURE, UNKNOWN = "unsure", "not_a_known_flower"
MORE_LIKELY_THAN_NOT = 0.5


class Outputs(NamedTuple):
    """What the graph says of N pictures, all ``float32``.

    ``probabilities`` ``[N, C]``; ``embedding`` ``[N, D]``; ``known`` ``[N]``: how sure it is to know the flower, 0…1.
    """

    probabilities: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    known: npt.NDArray[np.float32]


class Prediction(NamedTuple):
    """The answer for one picture.

    ``all_predictions`` is sorted, most probable first; ``reason`` says why it is ``rejected``.
    """

    predicted_class: str
    scientific_name: str | None
    class_index: int
    confidence: float
    known: float
    all_predictions: dict[str, float]
    rejected: bool
    reason: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return self._asdict()


class Classifier:
    """Answers about pictures with one onnxruntime session. Safe to call from several threads."""

    def __init__(
        self,
        bundle: Bundle,
        session: Session,
        runtime: Runtime,
        only: npt.NDArray[np.intp] | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.bundle = bundle
        self.runtime = runtime
        self.spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
        self._session = session
        # A graph that was exported before does not have all of them.
        given = {output.name for output in session.get_outputs()}
        self._outputs = [name for name in OUTPUTS if name in given]
        self._class_names = bundle.class_names
        self._scientific_names = bundle.scientific_names
        self._threshold = bundle.rejection_threshold
        # The class indices that may be answered, in order; without it all of them.
        self._only = only
        # Pictures that are asked about at once, as somebody wants it; without it as suits what it runs on.
        self._batch_size = batch_size

    @classmethod
    def open(cls, bundle: Bundle, device: str | None = None, *, threads: int = 1) -> Self:
        """Open a bundle on a device; without one, on what ``FLOWERS_DEVICE`` says, or the best.

        Raises:
            DeviceError: the device cannot be had.
            BundleError: the bundle has no graph, an altered one, or one that does not fit its description.
        """
        session, runtime = open_session(bundle, device, threads=threads)
        classifier = cls(bundle, session, runtime)
        check_graph(bundle, classifier.spec, session)
        return classifier

    @property
    def answerable(self) -> list[str]:
        """The class names that may be answered, in the order of their indices."""
        return self._class_names if self._only is None else [self._class_names[index] for index in self._only]

    @property
    def is_restricted(self) -> bool:
        """Whether it answers among some of the model's classes only."""
        return self._only is not None

    def answering_only(self, names: Sequence[str]) -> Self:
        """Return a classifier that shares this one's session and answers among these classes alone.

        What lies outside them counts as unknown. A restricted one can be restricted further.

        Args:
            names: class names, or those names in words.

        Raises:
            UsageError: there is none, or one that this classifier does not answer.
        """
        among = range(len(self._class_names)) if self._only is None else self._only.tolist()
        only = _indices_of(names, {self._class_names[index]: index for index in among}, self.bundle)
        return type(self)(self.bundle, self._session, self.runtime, np.array(only), self._batch_size)

    def in_batches(self, size: int) -> Self:
        """Return a classifier that asks about so many pictures at once; with 1 about each alone, on a GPU too.

        Without it, a CPU is asked about each alone, a GPU about as many as measuring shows to be worth it.
        """
        session = self._session
        if size > 1:
            from flowercli.inference.on_device import SIZES, OnDevice

            inner, device = (session.session, session.device) if isinstance(session, OnDevice) else (session, CPU)
            sizes = (*(one for one in SIZES if one < size), size)
            session = OnDevice(inner, device, (self.spec.height, self.spec.width), sizes)
        return type(self)(self.bundle, session, self.runtime, self._only, size)

    def gathering(self) -> Gathering | None:
        """Say how pictures are gathered for it; ``None``: each is asked about alone."""
        if not self._is_gathering:
            return None
        from flowercli.inference.batches import MOST_WAIT, Batches, Gathering
        from flowercli.inference.on_device import OnDevice

        session, size = self._session, self._batch_size
        assert isinstance(session, OnDevice)
        first = Batches(size or session.sizes[-1], MOST_WAIT)
        return Gathering(first, lambda: Batches.chosen(session.measured(), size))

    @property
    def _is_gathering(self) -> bool:
        return self.runtime.device != CPU if self._batch_size is None else self._batch_size > 1

    def classify(self, source: Source, top_k: int = DEFAULT_TOP_K) -> Prediction:
        """Answer about one picture, given as a path, as the bytes of a file, or as an image of Pillow's.

        Raises:
            ImageError: the picture cannot be read.
        """
        return self.answer([self.load(source)], top_k)[0]

    def load(self, source: Source) -> Picture:
        """Decode a picture, given as for :meth:`classify`, to what the model takes.

        Raises:
            ImageError: the picture cannot be read.
        """
        return load_picture(source, self.spec)

    def answer(self, pictures: Sequence[Picture], top_k: int = DEFAULT_TOP_K) -> list[Prediction]:
        """Answer about pictures, each a batch of its own, unless it is to answer :meth:`in_batches`.

        A run of the network leaves the caches of the CPU without anything of Python: it is started for one picture
        after the other, and only then is said what came of them.
        """
        if self._is_gathering and pictures:
            rows = self.run([picture.pixels for picture in pictures])
            return [self.prediction(*row, top_k) for row in zip(rows.probabilities, rows.known, strict=True)]
        outputs = [self.run(picture.pixels[np.newaxis]) for picture in pictures]
        return [self.prediction(probabilities[0], known[0], top_k) for probabilities, _, known in outputs]

    def run(self, pixels: Pixels) -> Outputs:
        """Run the graph on ``uint8`` pixels ``[N, H, W, 3]``; one that answers in batches takes N arrays too.

        Of a graph without the output ``known`` the largest probability stands in for it.

        Raises:
            BundleError: it cannot be run, or what it gives are no probabilities of the model's classes.
        """
        try:
            probabilities, embedding, *known = self._session.run(self._outputs, {INPUT: pixels})
        except Exception as error:  # onnxruntime's exceptions have no other common base
            from flowercli.shown import one_line

            why = one_line((str(error).splitlines() or [type(error).__name__])[0])
            raise BundleError(f"The graph of {self.bundle.path} cannot be run: {why}", hint=EXPORT) from error
        sure = known[0] if known else probabilities.max(axis=1, keepdims=True)
        shapes = (len(pixels), len(self._class_names)), (len(pixels), 1)
        if (probabilities.shape, sure.shape) != shapes or not (_are_shares(probabilities) and _are_shares(sure)):
            raise BundleError(f"The graph of {self.bundle.path} gives no probabilities of its classes.", hint=EXPORT)
        return Outputs(probabilities, embedding, sure[:, 0])

    def prediction(
        self, probabilities: npt.NDArray[np.float32], known: float | np.float32, top_k: int = DEFAULT_TOP_K
    ) -> Prediction:
        """Put into words what the graph says of one picture.

        Args:
            probabilities: ``[C]``, of all classes of the model.
            known: how sure it is that the picture shows one of them.
            top_k: how many classes the answer lists; 0 for all.
        """
        only = self._only
        shares, inside = (probabilities, 1.0) if only is None else _among(probabilities[only])
        sure = float(known) * inside
        order = np.argsort(-shares, kind="stable")[: top_k or None]
        indices = (order if only is None else only[order]).tolist()
        values = [round(value, DIGITS) for value in shares[order].tolist()]
        rejected = sure < self._threshold
        return Prediction(
            predicted_class=self._class_names[indices[0]],
            scientific_name=self._scientific_names[indices[0]],
            class_index=indices[0],
            confidence=values[0],
            known=round(sure, DIGITS),
            all_predictions={self._class_names[index]: value for index, value in zip(indices, values, strict=True)},
            rejected=rejected,
            reason=(UNSURE if sure >= MORE_LIKELY_THAN_NOT else UNKNOWN) if rejected else None,
        )


def _are_shares(values: npt.NDArray[np.float32]) -> bool:
    """Whether all are numbers from 0 to 1, as nearly as half precision gives them."""
    return bool(values.min() >= -ROUNDED and values.max() <= 1 + ROUNDED)


def check_top_k(top_k: int) -> None:
    """Refuse a number of classes that cannot be shown.

    Raises:
        UsageError: it is below zero.
    """
    if top_k < 0:
        raise UsageError(f"--top-k {top_k}: at least 1, or 0 for all.")


def parse_only(text: str) -> list[str]:
    """Return the names in a list with commas, as ``--only`` and ``?only=`` have it, each once."""
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def answerable(bundle: Bundle, names: Sequence[str]) -> list[str]:
    """Return the class names of a bundle that ``only`` with these names leaves, in the order of their indices.

    Raises:
        UsageError: there is none, or one that the bundle does not have.
    """
    class_names = bundle.class_names
    return [class_names[i] for i in _indices_of(names, {name: i for i, name in enumerate(class_names)}, bundle)]


def in_words(class_name: str) -> str:
    """Return a class name as it is shown to people."""
    return class_name.replace("_", " ")


def _among(probabilities: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.floating[Any]], float]:
    """Return the probabilities of some classes as shares of their sum, and how far it is one of them, 0…1.

    Nothing speaks against that where it is more likely than not.
    """
    values = probabilities.astype(np.float64)
    mass = float(values.sum())
    return (values / mass if mass else np.full(len(values), 1 / len(values))), min(mass / MORE_LIKELY_THAN_NOT, 1.0)


def _indices_of(names: Sequence[str], answered: Mapping[str, int], bundle: Bundle) -> list[int]:
    """Return the class indices of names in order, each once; ``answered`` holds those that there are."""
    if not names:
        raise UsageError("No flower is named to answer among.", hint=_hint_to_list(bundle))
    indices = {in_words(name): index for name, index in answered.items()} | dict(answered)
    for name in names:
        if name not in indices:
            from difflib import get_close_matches

            near = ", ".join(get_close_matches(name.lower().replace(" ", "_"), answered))
            said = f" The nearest: {near}." if near else ""
            raise UsageError(f"The model does not answer '{name}'.{said}", hint=_hint_to_list(bundle))
    return sorted({indices[name] for name in names})


def asked_as(bundle: Bundle) -> str:
    """Return what a command takes for this bundle: the name of one that ships, or its path."""
    shipped = bundle.path.parent == Path(__file__).parents[1] / "models"
    return bundle.path.name if shipped else str(bundle.path)


def _hint_to_list(bundle: Bundle) -> str:
    return f"flowers models {asked_as(bundle)}   (lists the flowers that it knows)"
