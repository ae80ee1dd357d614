"""What a model sees of photographs: the small sample in a bundle that a new flower is fitted against.

Of the model's own validation photographs and pictures that show none of its flowers, as in ``monitoring.reference``,
and of what it was taught since: of each its embedding, in 8 bits a value, and what was answered; not the picture.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from flowercli.atomic import scratch_folder, write_bytes
from flowercli.bundle import EMBEDDINGS, Bundle, add_files
from flowercli.data.shards import photographs
from flowercli.errors import BundleError, ImageError
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import ordered_map
from flowercli.installation import upgrade
from flowercli.monitoring.reference import DAMAGED, array_of, check_unpacked, version_of
from flowercli.progress import Advance, untold
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.evaluation.bundle_data import BundleData
    from flowercli.inference.classifier import Classifier

VERSION = 1
# Validation photographs, and pictures without a flower, that a bundle keeps at most: 1.6 kB each of 106 classes.
PHOTOS, OUTLIERS = 1200, 400
# The class index of a picture that shows none of the flowers.
NONE = -1
# A file of a stranger's bundle is read whole.
MOST_BYTES = 64 * 2**20
MOST_NAME = 200
LEVELS = 127
LEAST_PROBABILITY = 1e-9
STORED: dict[str, np.dtype[Any]] = {
    "class_index": np.dtype("<i4"),
    "known": np.dtype("<f4"),
    "brightness": np.dtype("<f4"),
    "width": np.dtype("<u4"),
    "height": np.dtype("<u4"),
    "digest": np.dtype("<u8"),
    "log_probabilities": np.dtype("<f2"),
    "levels": np.dtype("i1"),
    "scale": np.dtype("<f4"),
}


class Seen(NamedTuple):
    """What a model sees of one picture: as :class:`Exemplars` has it of many, with the pixels' source's numbers."""

    embedding: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    known: float
    brightness: float
    width: int
    height: int


@dataclass(frozen=True)
class Exemplars:
    """What a model sees of N pictures, before anything was taught it.

    ``class_index`` ``[N]`` ``int64``, :data:`NONE` where none of its flowers is shown, and behind its classes what it
    was taught; ``embedding`` ``[N, D]`` and ``log_probabilities`` ``[N, C]`` ``float64``; ``known``, ``brightness``,
    ``width`` and ``height`` ``[N]`` ``float64``; ``digest`` ``[N]`` ``uint64``, the start of the file's sha256.
    """

    class_index: npt.NDArray[np.int64]
    embedding: npt.NDArray[np.float64]
    log_probabilities: npt.NDArray[np.float64]
    known: npt.NDArray[np.float64]
    brightness: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    digest: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, seen: Sequence[Seen], class_index: Sequence[int], digests: Sequence[str]) -> Self:
        """Make them of what was seen, at the precision in which they are kept."""
        levels, scale = _levels(np.stack([one.embedding for one in seen]))
        columns: dict[str, npt.NDArray[Any]] = {
            "class_index": np.array(class_index),
            "levels": levels,
            "scale": scale,
            "log_probabilities": np.log(np.maximum(np.stack([one.probabilities for one in seen]), LEAST_PROBABILITY)),
            "digest": np.array([int(sha256[:16], 16) for sha256 in digests], np.uint64),
            **{
                name: np.array([getattr(one, name) for one in seen])
                for name in ("known", "brightness", "width", "height")
            },
        }
        return cls._of_columns({name: np.asarray(columns[name], dtype) for name, dtype in STORED.items()})

    @classmethod
    def _of_columns(cls, columns: Mapping[str, npt.NDArray[Any]]) -> Self:
        embedding = columns["levels"].astype(np.float64) * columns["scale"].astype(np.float64)[:, np.newaxis]
        numbers = ("log_probabilities", "known", "brightness", "width", "height")
        return cls(
            class_index=columns["class_index"].astype(np.int64),
            embedding=embedding,
            digest=columns["digest"],
            **{name: columns[name].astype(np.float64) for name in numbers},
        )

    def __len__(self) -> int:
        return len(self.class_index)

    def take(self, which: Any) -> Self:
        """Return those that an index, a slice or a mask selects."""
        return type(self)(**{each.name: getattr(self, each.name)[which] for each in fields(self)})

    def with_(self, class_index: npt.NDArray[np.int64]) -> Self:
        """Return the same of other classes."""
        return type(self)(**{**vars(self), "class_index": class_index})

    def and_(self, other: Self) -> Self:
        """Return these and others."""
        both = (np.concatenate([getattr(one, each.name) for one in (self, other)]) for each in fields(self))
        return type(self)(*both)

    def write(self, path: Path, graph: str) -> None:
        """Write the file; the same exemplars of the same graph, given by its sha256, always give the same bytes."""
        levels, scale = _levels(self.embedding)
        columns = {**vars(self), "levels": levels, "scale": scale}
        arrays = {name: columns[name].astype(dtype) for name, dtype in STORED.items()}
        file = io.BytesIO()
        facts = {"version": np.array(VERSION), "graph": np.array(graph)}
        np.savez_compressed(file, allow_pickle=False, **facts, **arrays)
        write_bytes(path, file.getvalue())

    @classmethod
    def read(cls, bundle: Bundle, graph: str, classes: int, taught: int = 0) -> Self:
        """Read the exemplars of a bundle.

        Args:
            bundle: a folder.
            graph: the file name of the graph that they have to be of.
            classes: those that the model was trained on.
            taught: the number of those that it was taught since.

        Raises:
            BundleError: it has none, damaged ones, or those of another graph.
        """
        path = bundle.file(EMBEDDINGS)
        hint = f"flowers reference {in_shell(bundle.path)} --data DIR"
        if path.stat().st_size > MOST_BYTES:
            raise BundleError(f"{path} is too large for what a model sees of its photographs.", hint=hint)
        try:
            arrays = _arrays(path)
            if (version := version_of(arrays["version"])) != VERSION:
                message = f"{path} has format {version}; this version reads {VERSION}."
                raise BundleError(message, hint=hint if version < VERSION else upgrade())
            found = cls._checked(arrays, bundle.section.get("embedding_size"), classes, taught)
        except DAMAGED as error:
            raise BundleError(f"{path} is damaged: {error}.", hint=hint) from error
        if str(arrays["graph"]) != bundle.section["files"][graph]["sha256"]:
            raise BundleError(f"{path} is of another graph than {graph}, which answers.", hint=hint)
        return found

    @classmethod
    def _checked(cls, arrays: dict[str, npt.NDArray[Any]], size: int | None, classes: int, taught: int) -> Self:
        if any(arrays[name].dtype != dtype for name, dtype in STORED.items()):
            raise ValueError("it has other numbers than it should")
        count, width = arrays["levels"].shape if arrays["levels"].ndim == 2 else (0, 0)  # noqa: PLR2004  ([N, D])
        flat = {arrays[name].shape for name in STORED.keys() - {"levels", "log_probabilities"}}
        if flat != {(count,)} or arrays["log_probabilities"].shape != (count, classes) or width != (size or width):
            raise ValueError("its columns do not fit each other, or the model")
        found = cls._of_columns(arrays)
        index = found.class_index
        if not ((index >= NONE) & (index < classes + taught)).all():
            raise ValueError("it has classes that the model does not have")
        if len(np.unique(index[(index >= 0) & (index < classes)])) < min(2, classes):
            raise ValueError("it has photographs of fewer than two flowers")
        if not all(np.isfinite(getattr(found, name)).all() for name in ("embedding", "brightness")):
            raise ValueError("not all of it is numbers")
        if (
            not ((found.log_probabilities <= 0) & (found.log_probabilities > -np.inf)).all()
            or not ((found.known >= 0) & (found.known <= 1)).all()
        ):
            raise ValueError("it has numbers that no answer has")
        return found


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    # Opened here: numpy leaves a file open that is no archive.
    with path.open("rb") as opened:
        check_unpacked(opened, MOST_BYTES)
        with np.load(opened, allow_pickle=False) as file:
            arrays = {name: array_of(file, name) for name in ("version", "graph", *STORED)}
    graph = arrays["graph"]
    if graph.shape or graph.dtype.kind != "U" or len(str(graph)) > MOST_NAME:
        raise ValueError("graph is no sha256")
    return arrays


def _levels(embedding: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return embeddings ``[N, D]`` in whole numbers, and what one is worth in each row; of such rows the same."""
    largest = np.maximum(np.abs(embedding).max(axis=1), np.finfo(np.float32).tiny * LEVELS)
    scale = (largest / LEVELS).astype(np.float32)
    return np.rint(embedding / scale.astype(np.float64)[:, np.newaxis]).clip(-LEVELS, LEVELS).astype(np.int8), scale


def see(classifier: Classifier, source: Any) -> Seen:
    """Ask a model what it sees of a picture.

    Raises:
        ImageError: it cannot be read.
    """
    picture = classifier.load(source)
    outputs = classifier.run(picture.pixels[np.newaxis])
    numbers = (picture.brightness, picture.width, picture.height)
    return Seen(outputs.embedding[0], outputs.probabilities[0], float(outputs.known[0]), *numbers)


def make_exemplars(classifier: Classifier, data: BundleData, advance: Advance = untold) -> Exemplars:
    """Ask a model about its validation photographs, and pictures without a flower if its manifest has them.

    Args:
        classifier: the model as it will answer, so the very graph.
        data: the photographs of its bundle.
        advance: called after each photograph.

    Raises:
        ImageError: a photograph cannot be read.
        DataError: some of the outliers are not there.
    """
    index = {name: place for place, name in enumerate(classifier.bundle.class_names)}
    unseen = data.manifest.of_split("val")
    photos = unseen[:: -(-len(unseen) // PHOTOS)]
    listed = data.manifest.outliers_of("val")
    others = data.outliers("val")[:: -(-len(listed) // OUTLIERS)] if listed else []
    step = "Keeping what the model sees of validation photographs"
    found: list[Seen] = []
    for root, entries in ((data.root, photos), *([(data.outliers_root, others)] if listed else [])):
        sources = photographs(root, entries)

        def ask(place: int, sources: Any = sources) -> Seen:
            try:
                return see(classifier, sources[place])
            except ImageError as error:
                raise ImageError(error.code, f"{sources.name(place)}: {error.message}") from error

        for one in ordered_map(ask, range(len(entries)), available_cores()):
            found.append(one)
            advance(step, len(photos) + len(others))
    entries = [*photos, *others]
    return Exemplars.of(
        found,
        [index[one.class_name] for one in photos] + [NONE] * len(others),
        [one.sha256 for one in entries],
    )


def put_into(bundle: Bundle, exemplars: Exemplars, graph: str) -> Bundle:
    """Add exemplars of a graph, given by its file name, to a bundle folder, or replace those there."""
    with scratch_folder("embeddings") as folder:
        file = folder / EMBEDDINGS
        exemplars.write(file, bundle.section["files"][graph]["sha256"])
        return add_files(bundle, {EMBEDDINGS: file})
