"""Ask one variant of a bundle, its torch weights or one of its ONNX files, about photographs and keep the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowercli.bundle import GRAPHS, WEIGHTS, Bundle
from flowercli.data.manifest import Entry, class_indices
from flowercli.data.shards import photographs
from flowercli.errors import BundleError
from flowercli.inference.calibration import softmax
from flowercli.inference.classifier import MORE_LIKELY_THAN_NOT
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import open_for_many, ordered_map
from flowercli.inference.preprocess import PreprocessSpec, load_pixels
from flowercli.inference.session import CPU
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    from flowercli.inference.on_device import Pixels

Row = tuple[npt.NDArray[Any], npt.NDArray[Any], float]

# What each file of a bundle is called in the results, the one that `classify` runs on a CPU last.
VARIANTS = {"torch": WEIGHTS} | {form.name: form.file for form in reversed(GRAPHS)}
TORCH_BATCH = 16


@dataclass(frozen=True)
class Runs:
    """What runs the ONNX files: a device, and of how many photographs they are asked at once; see ``in_batches``."""

    device: str = CPU
    batch_size: int | None = None


CPU_ALONE = Runs()


@dataclass(frozen=True)
class Answers:
    """What a variant says of N photographs.

    ``paths`` are relative to the dataset; ``targets`` class indices ``[N]`` ``int64``; ``probabilities``
    ``[N, C]`` ``float64``, calibrated; ``embeddings`` ``[N, D]`` ``float32``; ``known`` ``[N]`` ``float64``, how sure
    it is that it knows what it sees.
    """

    paths: list[str]
    targets: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    embeddings: npt.NDArray[np.float32]
    known: npt.NDArray[np.float64]

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """The most probable class of each photograph, ``[N]``."""
        predictions: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return predictions

    def among(self, indices: Sequence[int]) -> Answers:
        """Return what the model says when it may answer some classes only: what lies outside them is less known."""
        shares = self.probabilities[:, indices]
        mass = shares.sum(axis=1)
        probabilities = np.zeros_like(self.probabilities)
        probabilities[:, indices] = shares / np.maximum(mass, np.finfo(np.float64).tiny)[:, np.newaxis]
        return replace(self, probabilities=probabilities, known=self.known * (mass / MORE_LIKELY_THAN_NOT).clip(max=1))

    def take(self, mask: npt.NDArray[np.bool_]) -> Answers:
        """Return those of the answers that a mask ``[N]`` selects."""
        paths = [path for path, taken in zip(self.paths, mask, strict=True) if taken]
        columns = (self.targets[mask], self.probabilities[mask], self.embeddings[mask], self.known[mask])
        return Answers(paths, *columns)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether each answer is right, ``[N]``."""
        right: npt.NDArray[np.bool_] = self.predictions == self.targets
        return right


def variants_of(bundle: Bundle) -> list[str]:
    """Return the variants that a bundle has, the one that ``classify`` runs on a CPU last.

    Raises:
        BundleError: it has none.
    """
    if bundle.is_lone_onnx:
        return ["onnx"]
    variants = [variant for variant, name in VARIANTS.items() if name in bundle.section["files"]]
    if not variants:
        message = f"The bundle {bundle.path} has neither torch weights nor an ONNX file."
        raise BundleError(message, hint="Fetch or train it again.")
    return variants


def ask(
    bundle: Bundle,
    variant: str,
    root: Path,
    photos: Sequence[Entry],
    advance: Advance = untold,
    runs: Runs = CPU_ALONE,
) -> Answers:
    """Ask a variant of a bundle about photographs.

    Args:
        bundle: the model.
        variant: one of :func:`variants_of`.
        root: the dataset.
        photos: of classes that the bundle knows, or outliers, whose targets lie behind all classes.
        advance: called at the start and after each photograph.
        runs: what runs an ONNX file.

    Raises:
        DeviceError: the device cannot be had.
        BundleError: the file of the variant is missing or altered.
        ImageError: a photograph cannot be read.
    """
    names = [*bundle.class_names, *dict.fromkeys(photo.class_name for photo in photos)]
    told = partial(advance, f"Asking {variant}", len(photos))
    told(0)  # Torch and the weights take seconds to load.
    rows = []
    for row in answer_rows(bundle, variant, photographs(root, photos), runs):
        rows.append(row)
        told()
    probabilities, embeddings, known = zip(*rows, strict=True)
    return Answers(
        [photo.path for photo in photos],
        np.array(class_indices(photos, list(dict.fromkeys(names))), dtype=np.int64),
        np.stack(probabilities).astype(np.float64),
        np.stack(embeddings).astype(np.float32),
        np.array(known, dtype=np.float64),
    )


def answer_rows(bundle: Bundle, variant: str, sources: Sequence[Any], runs: Runs = CPU_ALONE) -> Iterator[Row]:
    """Yield probabilities ``[C]``, embedding ``[D]`` and how sure the model is to know it, for each photograph."""
    return _torch_rows(bundle, sources) if variant == "torch" else _onnx_rows(bundle, variant, sources, runs)


def _onnx_rows(bundle: Bundle, variant: str, sources: Sequence[Any], runs: Runs) -> Iterator[Row]:
    graph = bundle.path if bundle.is_lone_onnx else bundle.file(VARIANTS[variant])
    classifier = open_for_many(Bundle(graph, bundle.config), runs.device, runs.batch_size)

    def load(source: Any) -> npt.NDArray[np.uint8]:
        return load_pixels(source, classifier.spec)

    def rows(pixels: Pixels) -> Iterator[Row]:
        outputs = classifier.run(pixels)
        return zip(outputs.probabilities, outputs.embedding, map(float, outputs.known), strict=True)

    if (gathering := classifier.gathering()) is not None:
        from flowercli.inference.batches import gathered_map

        return gathered_map(load, rows, sources, available_cores(), gathering)
    return ordered_map(lambda source: next(rows(load(source)[np.newaxis])), sources, available_cores())


def _torch_rows(bundle: Bundle, sources: Sequence[Any]) -> Iterator[Row]:
    import torch

    from flowercli.training.model import known_of, load_bundle_model

    model, known = load_bundle_model(bundle), known_of(bundle)
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    for start in range(0, len(sources), TORCH_BATCH):
        batch = np.stack([load_pixels(source, spec) for source in sources[start : start + TORCH_BATCH]])
        with torch.inference_mode():
            answers = model(torch.from_numpy(batch).permute(0, 3, 1, 2))
        logits, embeddings = answers[0].double().numpy(), answers[1].numpy()
        yield from zip(softmax(logits / bundle.temperature), embeddings, known(logits, embeddings), strict=True)
