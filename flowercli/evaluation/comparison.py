"""``flowers eval A --against B``: which of two bundles is right more often, and whether that is more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowercli.bundle import MANIFEST, Bundle
from flowercli.data.manifest import Manifest
from flowercli.data.scan import MANIFEST_FILE
from flowercli.errors import DataError, UsageError
from flowercli.evaluation.answers import ask, variants_of
from flowercli.evaluation.intervals import interval, share
from flowercli.evaluation.scores import percentile_interval, resampled_sums
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    from flowercli.evaluation.bundle_data import BundleData

CHANCE = 0.05


@dataclass(frozen=True)
class Side:
    """One of the two bundles: the variant that ``classify`` runs, and how often it is right."""

    bundle: Bundle
    variant: str
    right: int
    accuracy: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the side as JSON holds it."""
        return {**vars(self), "bundle": str(self.bundle.path)}


@dataclass(frozen=True)
class Comparison:
    """Two bundles on the same photographs.

    ``difference`` is A's accuracy minus B's, with a 95 % interval; ``only_a`` and ``only_b`` are the photographs that
    one of them alone is right about. ``training_known`` is whether B's training photographs are known, and so known not
    to be among these.
    """

    split: str
    photos: int
    a: Side
    b: Side
    both: int
    only_a: int
    only_b: int
    difference: dict[str, float]
    p_value: float
    training_known: bool

    @property
    def neither(self) -> int:
        """Photographs that both are wrong about."""
        return self.photos - self.both - self.only_a - self.only_b

    @property
    def conclusion(self) -> str:
        """What it means, in one sentence."""
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.2g}"  # noqa: PLR2004
        if self.only_a == self.only_b:
            return f"They are right equally often ({p})."
        points = f"{100 * abs(self.difference['value']):.1f} points"
        if self.p_value >= CHANCE:
            return f"The difference of {points} is within chance ({p})."
        better = "A" if self.only_a > self.only_b else "B"
        return f"{better} is better by {points}, which is more than chance explains ({p})."

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as ``flowers eval --against --json`` prints it."""
        sides = {"a": self.a.as_dict(), "b": self.b.as_dict()}
        return {**vars(self), **sides, "neither": self.neither, "conclusion": self.conclusion}


def compare_bundles(a: Bundle, b: Bundle, data: BundleData, split: str, advance: Advance = untold) -> Comparison:
    """Ask two bundles about the same photographs, each as the variant that ``classify`` runs on a CPU.

    Args:
        a: the bundle that ``data`` belongs to.
        b: another one with the same classes.
        data: the dataset and manifest of A.
        split: ``val`` or ``test``.
        advance: called after each photograph of each step.

    Raises:
        UsageError: the classes differ, or A was trained on the split.
        DataError: B was trained on photographs of the split; or some are missing or altered.
    """
    if split == "train":
        message = "A was trained on its training split: a comparison there would flatter it."
        raise UsageError(message, hint="Compare with --split test or --split val.")
    _check_classes(a, b)
    photos = data.photos(split)
    known = _check_unseen(b, data.manifest, split)
    data.check_unchanged(split, advance)
    sides, rights = [], []
    for letter, bundle in (("A", a), ("B", b)):
        variant = variants_of(bundle)[-1]
        right = ask(bundle, variant, data.root, photos, _named(advance, f"Asking {letter}, {variant}")).right
        hits = int(right.sum())
        sides.append(Side(bundle, variant, hits, share(hits, len(photos))))
        rights.append(right)
    return _comparison(split, (sides[0], sides[1]), rights[0], rights[1], training_known=known)


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar, 1947).

    Were both equally good, each photograph that one of them alone is right about would be a fair coin's toss; the
    p-value is the probability of a division at least as uneven as ``only_a`` to ``only_b``.
    """
    tosses, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(tosses, heads) for heads in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << tosses))


def difference_interval(right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return A's accuracy minus B's with a paired 95 % bootstrap interval; both ``[N]``, of the same photographs."""
    differences = right_a.astype(np.float64) - right_b
    drawn = resampled_sums(differences[:, np.newaxis])[:, 0] / len(differences)
    return interval(float(differences.mean()), *percentile_interval(drawn))


def _named(advance: Advance, name: str) -> Advance:
    return lambda _step, parts, done=1: advance(name, parts, done)


def _comparison(
    split: str,
    sides: tuple[Side, Side],
    right_a: npt.NDArray[np.bool_],
    right_b: npt.NDArray[np.bool_],
    *,
    training_known: bool,
) -> Comparison:
    both, only_a, only_b = (int(which.sum()) for which in (right_a & right_b, right_a & ~right_b, right_b & ~right_a))
    return Comparison(
        split=split,
        photos=len(right_a),
        a=sides[0],
        b=sides[1],
        both=both,
        only_a=only_a,
        only_b=only_b,
        difference=difference_interval(right_a, right_b),
        p_value=mcnemar(only_a, only_b),
        training_known=training_known,
    )


def _check_classes(a: Bundle, b: Bundle) -> None:
    if sorted(a.class_names) != sorted(b.class_names):
        first = min(set(a.class_names) ^ set(b.class_names))
        ours, theirs = len(a.class_names), len(b.class_names)
        message = (
            f"They cannot be compared: {a.path} knows {ours} classes, {b.path} {theirs}; {first} is one of one alone."
        )
        raise UsageError(message, hint="Compare with a bundle that has the same classes.")


def _check_unseen(b: Bundle, manifest: Manifest, split: str) -> bool:
    """Refuse if B was trained on photographs of the split; return whether that is known at all."""
    if (file := b.manifest_file) is None:
        # Without a list of its own, a bundle still says which manifest it was trained with.
        recorded = b.section.get("provenance", {}).get("manifest_sha256")
        return bool(recorded == manifest.sha256)
    photos = manifest.of_split(split)
    asked = set(photos.columns["sha256"])
    trained_on = {
        photo.sha256 for photo in Manifest.read(file).photos if photo.split == "train" and photo.sha256 in asked
    }
    seen = sum(map(trained_on.__contains__, photos.columns["sha256"]))
    if seen:
        message = f"B was trained on {seen} of the {len(photos)} photographs of A's split '{split}': "
        hint = f"Train both with the same split: the {MANIFEST} of one as {MANIFEST_FILE} in the dataset of the other."
        raise DataError(f"{message}the comparison would flatter B.", hint=hint)
    return True
