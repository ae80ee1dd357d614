"""Make the reference of a bundle: ask its model about photographs that it knows the origin of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flowercli.atomic import scratch_folder
from flowercli.bundle import REFERENCE, add_files
from flowercli.data.shards import photographs
from flowercli.errors import ImageError
from flowercli.inference.classifier import DEFAULT_TOP_K
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import ordered_map
from flowercli.monitoring.features import Observation, describe
from flowercli.monitoring.reference import PHOTOS, Reference
from flowercli.progress import untold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from flowercli.bundle import Bundle
    from flowercli.data.manifest import Entry, Manifest
    from flowercli.inference.classifier import Classifier, Prediction
    from flowercli.inference.preprocess import Picture
    from flowercli.progress import Advance


def observe(classifier: Classifier, pictures: Sequence[Picture], top_k: int = DEFAULT_TOP_K) -> list[Observation]:
    """Answer about decoded pictures, and keep what a log wants to know."""
    answers = classifier.answer(pictures, top_k)
    return [
        Observation(answer, picture.width, picture.height, picture.brightness)
        for picture, answer in zip(pictures, answers, strict=True)
    ]


class LoggedClassifier:
    """A classifier whose every answer is told to somebody."""

    def __init__(self, classifier: Classifier, tell: Callable[[Observation], None]) -> None:
        self._classifier, self._tell = classifier, tell
        self.load, self.gathering = classifier.load, classifier.gathering

    def answer(self, pictures: Sequence[Picture], top_k: int = DEFAULT_TOP_K) -> list[Prediction]:
        """Answer about decoded pictures."""
        observations = observe(self._classifier, pictures, top_k)
        for observed in observations:
            self._tell(observed)
        return [observed.answer for observed in observations]


def choose(manifest: Manifest, photos: int = PHOTOS) -> Sequence[Entry]:
    """Return the photographs for a reference: those of validation, or as many of them, spread evenly."""
    unseen = manifest.of_split("val")
    return unseen[:: -(-len(unseen) // photos)]


def make_reference(classifier: Classifier, root: Path, photos: Sequence[Entry], advance: Advance = untold) -> Reference:
    """Ask a model about photographs of its manifest.

    Args:
        classifier: the model as it will answer, so the very graph.
        root: the dataset.
        photos: of :func:`choose`.
        advance: called after each photograph.

    Raises:
        ImageError: a photograph cannot be read.
    """
    sources = photographs(root, photos)

    def ask(place: Any) -> Observation:
        try:
            return observe(classifier, [classifier.load(sources[place])])[0]
        except ImageError as error:
            raise ImageError(error.code, f"{sources.name(place)}: {error.message}") from error

    observed, places = [], cast("Any", range(len(photos)))  # It is typed for what is typed.
    for one in ordered_map(ask, places, available_cores()):
        observed.append(one)
        advance("Asking about validation photographs", len(photos))
    return Reference(describe(observed), classifier.runtime.graph)


def add_reference(classifier: Classifier, root: Path, photos: Sequence[Entry], advance: Advance = untold) -> Bundle:
    """Make the reference of a bundle folder, as :func:`make_reference` does, and put it there."""
    return put_into(classifier.bundle, make_reference(classifier, root, photos, advance))


def put_into(bundle: Bundle, reference: Reference) -> Bundle:
    """Add a reference to a bundle folder, or replace the one there."""
    with scratch_folder("reference") as folder:
        file = folder / REFERENCE
        reference.write(file)
        return add_files(bundle, {REFERENCE: file})
