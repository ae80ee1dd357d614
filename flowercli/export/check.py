"""How an exported file compares with torch, and the gates that refuse. No torch: packages are held to them too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowercli.bundle import WEIGHTS, Bundle
from flowercli.errors import ExportError, UsageError

# Points of validation accuracy that an export may lose, if nothing else is asked for.
MAX_DROP = 0.5


@dataclass(frozen=True)
class Check:
    """How one exported file compares with torch on the same photographs, those of validation.

    Differences are of probabilities; ``agreement`` is the share of photographs with the same predicted class;
    ``accuracy`` has a 95 % interval, ``drop`` is in points; ``latency_ms`` is the median for one photograph on one
    thread of the CPU, ``None`` where it was not recorded; ``weight_bits`` is how many bits the weights of an int8
    graph take, which whoever opens it wants to know (``inference.session``).
    """

    file: str
    size: int
    method: str
    photos: int
    max_difference: float
    mean_difference: float
    agreement: float
    accuracy: dict[str, float]
    drop: float
    latency_ms: float | None
    weight_bits: int | None = None

    def keeps_accuracy(self, max_drop: float | None) -> bool:
        """Whether it loses no more than so many points; by default half a point, or one photograph if that is more."""
        if max_drop is not None:
            return self.drop <= max_drop
        return self.drop <= MAX_DROP or round(self.drop * self.photos / 100) <= 1


class LostAccuracyError(ExportError):
    """Exports that lose more accuracy than is allowed; ``checks`` says of each what was measured."""

    def __init__(self, message: str, checks: Sequence[Check], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.checks = list(checks)


def require_accuracy(checks: Sequence[Check], max_drop: float | None) -> None:
    """Refuse exports that lose too much; of several attempts at one file the last one counts.

    Raises:
        LostAccuracyError: one of them loses more than ``max_drop`` points, or what is allowed by default.
    """
    last = {check.file: check for check in checks}
    lost = [f"{check.file} loses {check.drop:.1f}" for check in last.values() if not check.keeps_accuracy(max_drop)]
    if lost:
        allowed = f"{MAX_DROP:g}, or one photograph," if max_drop is None else f"{max_drop:g}"
        message = f"{', '.join(lost)} points of validation accuracy; {allowed} are allowed. Nothing was written."
        raise LostAccuracyError(message, checks, hint="Accept more with --max-drop, or leave that export out.")


def require_weights(bundle: Bundle) -> None:
    """Refuse a bundle that an export cannot be made from, before torch is needed to find out.

    Raises:
        UsageError: it has no torch weights.
    """
    if bundle.is_lone_onnx:
        raise UsageError(f"{bundle.path} is a lone .onnx, without the weights an export is made from.")
    if WEIGHTS not in bundle.section["files"]:
        message = f"The bundle {bundle.path} has no {WEIGHTS}, which an export is made from."
        raise UsageError(message, hint="What it can do without: --mlflow FOLDER, --delivery FOLDER.")
