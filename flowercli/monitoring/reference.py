"""What a model says of its own validation photographs: the small sample in a bundle that a log is compared with.

Of validation alone: of what it was trained on a model is surer than of anything new, and parts of a merged dataset may
be split by other ratios, so that even the mix of classes differs. Those of test stay out of everything but a report.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import numpy as np
import numpy.typing as npt

from flowercli.atomic import scratch_folder, write_bytes
from flowercli.bundle import REFERENCE, Bundle, add_files
from flowercli.data.shards import photographs
from flowercli.errors import BundleError, ImageError
from flowercli.inference.classifier import DEFAULT_TOP_K, Classifier, Prediction
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import ordered_map
from flowercli.installation import upgrade
from flowercli.monitoring.features import Observation, Sample, describe
from flowercli.progress import Advance, untold
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.data.manifest import Entry, Manifest
    from flowercli.inference.preprocess import Picture


VERSION = 2
PHOTOS = 1000
# A file of a stranger's bundle is read whole: 1,000 photographs take 20 kB.
MOST_BYTES = 4 * 2**20
MOST_NAME = 1024
STORED = {
    "class_index": np.dtype("<u2"),
    "confidence": np.dtype("<f4"),
    "known": np.dtype("<f4"),
    "brightness": np.dtype("<f4"),
    "width": np.dtype("<u4"),
    "height": np.dtype("<u4"),
}


FACTS = ("version", "graph")
# What zipfile, zlib and numpy raise: also for compressions that are unknown, keys that are missing, and sizes that lie.
DAMAGED = (
    OSError, ValueError, KeyError, TypeError, EOFError, OverflowError, RuntimeError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def check_unpacked(file: BinaryIO, most_bytes: int = MOST_BYTES) -> None:
    """Refuse an archive that would be larger unpacked than it may be; a reference, without a number.

    Raises:
        ValueError: it is.
    """
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > most_bytes:
            raise ValueError("it is too large unpacked")
    file.seek(0)


@dataclass(frozen=True)
class Reference:
    """The sample, and what answered: the file name of a graph, or ``torch``."""

    sample: Sample
    graph: str

    def write(self, path: Path) -> None:
        """Write the file; the same reference always gives the same bytes."""
        arrays: dict[str, npt.NDArray[Any]] = {
            name: getattr(self.sample, name).astype(dtype) for name, dtype in STORED.items()
        }
        facts = {"version": np.array(VERSION), "graph": np.array(self.graph)}
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **facts, **arrays)
        write_bytes(path, file.getvalue())

    @classmethod
    def read(cls, bundle: Bundle) -> Self:
        """Read the reference of a bundle.

        Raises:
            BundleError: it has none, or a damaged one.
        """
        if bundle.is_lone_onnx:
            message = f"{bundle.path} is a lone .onnx: it holds no reference to compare a log with."
            raise BundleError(message, hint="Name the bundle that it was exported from: --reference BUNDLE")
        path = bundle.file(REFERENCE)
        if path.stat().st_size > MOST_BYTES:
            raise BundleError(f"{path} is too large for a reference.")
        try:
            # Opened here: numpy leaves a file open that is no archive.
            with path.open("rb") as opened:
                check_unpacked(opened)
                with np.load(opened, allow_pickle=False) as file:
                    return cls._checked({name: array_of(file, name) for name in (*FACTS, *STORED)}, bundle)
        except DAMAGED as error:
            hint = f"flowers reference {in_shell(bundle.path)}"
            raise BundleError(f"The reference {path} is damaged: {error}.", hint=hint) from error

    @classmethod
    def _checked(cls, arrays: dict[str, npt.NDArray[Any]], bundle: Bundle) -> Self:
        if (version := version_of(arrays["version"])) != VERSION:
            message = f"The reference of {bundle.path} has format {version}; this version reads {VERSION}."
            older = f"flowers reference {in_shell(bundle.path)}"
            raise BundleError(message, hint=older if version < VERSION else upgrade())
        sample = Sample.of({name: arrays[name] for name in STORED})
        index = sample.class_index
        if {values.shape for values in vars(sample).values()} != {(index.size,)}:
            raise ValueError("its columns differ in length")
        if not index.size:
            raise ValueError("it has no photographs")
        sample.check(len(bundle.class_names))
        graph = arrays["graph"]
        if graph.shape or graph.dtype.kind != "U" or len(str(graph)) > MOST_NAME:
            raise ValueError("graph is no name")
        return cls(sample, str(graph))


def array_of(file: Mapping[str, Any], name: str) -> npt.NDArray[Any]:
    """Return an array of an opened archive.

    Raises:
        KeyError, TypeError, ValueError: it has none of that name.
    """
    array = file[name]
    if not isinstance(array, np.ndarray):  # numpy returns the bytes of a member that does not begin as an array does.
        raise TypeError(f"{name} is no array")
    return array


def version_of(array: npt.NDArray[Any]) -> int:
    """Return the version that a file says that it has.

    Raises:
        ValueError: it is no whole number.
    """
    if array.shape or array.dtype.kind not in "iu":
        raise ValueError("version is no whole number")
    return int(array)


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
