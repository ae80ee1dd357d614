"""``flowers eval --find-label-errors``: photographs whose label is probably wrong, by confident learning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from cleanlab.filter import find_label_issues
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from flowercli.bundle import WEIGHTS, Bundle
from flowercli.errors import BundleError, DataError
from flowercli.evaluation.answers import ask
from flowercli.progress import Advance, untold
from flowercli.shown import counted

if TYPE_CHECKING:
    from flowercli.data.columns import Table
    from flowercli.data.manifest import Entry
    from flowercli.evaluation.bundle_data import BundleData

FOLDS = 5
# Of unit embeddings, whose coefficients have to be large; the best log loss out of fold on flower_photos.
INVERSE_REGULARISATION = 100.0
DIGITS = 6


@dataclass(frozen=True)
class LabelError:
    """A photograph that looks like another class than its label.

    ``path`` is relative to the dataset; ``probability`` is that of ``looks_like``, ``label_probability`` that of
    the label, both from a classifier that has not seen this photograph's label.
    """

    path: str
    split: str
    labelled: str
    looks_like: str
    probability: float
    label_probability: float


@dataclass(frozen=True)
class LabelErrors:
    """The suspects, the least probable label first, and how good the classifier is that suspects them."""

    bundle: Bundle
    data: BundleData
    photos: int
    accuracy: float
    rows: list[LabelError]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as ``flowers eval --find-label-errors --json`` prints it."""
        return {
            "bundle": str(self.bundle.path),
            "data": str(self.data.root),
            "photos": self.photos,
            "out_of_fold_accuracy": round(self.accuracy, DIGITS),
            "label_errors": [dict(vars(row)) for row in self.rows],
        }


def find_label_errors(bundle: Bundle, data: BundleData, advance: Advance = untold) -> LabelErrors:
    """Suspect labels of a bundle's dataset, in all splits (confident learning; Northcutt, Jiang and Chuang, 2021).

    Logistic regressions on the embeddings of the torch backbone give each photograph probabilities from four fifths of
    the others. The backbone itself was trained on the labels of the training split, which it may have learnt by
    heart where they are wrong: there it finds fewer errors than there are.

    Args:
        bundle: with torch weights.
        data: its dataset and manifest.
        advance: called after each photograph and each fold.

    Raises:
        BundleError: the bundle has no torch weights.
        UsageError: the dataset has other classes than the bundle.
        DataError: photographs are missing or altered, or a class has fewer than five.
    """
    if bundle.is_lone_onnx or WEIGHTS not in bundle.section["files"]:
        message = f"Label errors are found with the torch weights, which {bundle.path} does not have."
        raise BundleError(message, hint="Give the bundle folder that flowers train wrote.")
    photos = _checked_photos(bundle, data, advance)
    answers = ask(bundle, "torch", data.root, photos, advance)
    fitted = partial(advance, "Cross-validating", FOLDS)
    probabilities = out_of_fold(answers.embeddings, answers.targets, fitted)
    accuracy = float((probabilities.argmax(axis=1) == answers.targets).mean())
    rows = label_error_rows(photos, answers.targets, probabilities, bundle.class_names)
    return LabelErrors(bundle, data, len(photos), accuracy, rows)


def out_of_fold(
    embeddings: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], fitted: Callable[[], None] = lambda: None
) -> npt.NDArray[np.float64]:
    """Return the probabilities ``[N, C]`` of each photograph from the fold that left it out.

    Args:
        embeddings: ``[N, D]``.
        targets: class indices ``[N]``, each class at least five times.
        fitted: called after each of the five folds.
    """
    probabilities = np.zeros((len(targets), int(targets.max()) + 1))
    for others, own in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(embeddings, targets):
        model = make_pipeline(Normalizer(), LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000))
        probabilities[own] = model.fit(embeddings[others], targets[others]).predict_proba(embeddings[own])
        fitted()
    return probabilities


def label_error_rows(
    photos: Sequence[Entry],
    targets: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    class_names: Sequence[str],
) -> list[LabelError]:
    """Return the suspected labels, the least probable first.

    Args:
        photos: N entries of a manifest.
        targets: their class indices ``[N]``.
        probabilities: ``[N, C]``, out of fold.
        class_names: by class index.
    """
    # One job: cleanlab's worker processes take longer to start than the work takes.
    found = find_label_issues(targets, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    rows = []
    for index in found.tolist():
        row, best = probabilities[index], int(probabilities[index].argmax())
        values = (round(float(row[best]), DIGITS), round(float(row[targets[index]]), DIGITS))
        photo = photos[index]
        rows.append(LabelError(photo.path, photo.split, photo.class_name, class_names[best], *values))
    return rows


def _checked_photos(bundle: Bundle, data: BundleData, advance: Advance) -> Table[Entry]:
    photos = data.manifest.photos
    data.check_classes(bundle.class_names)
    counts = Counter(photo.class_name for photo in photos)
    for name in bundle.class_names:
        if counts[name] < FOLDS:
            message = (
                f"'{name}' has {counted(counts[name], 'photograph')}; finding label errors takes {FOLDS} of each class."
            )
            raise DataError(message, hint="Add photographs of it, or train without the class.")
    for split in sorted({photo.split for photo in photos}):
        data.check_unchanged(split, advance)
    return photos
