"""``flowers export``: make the files, check each against torch, and only then put them into the bundle."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.atomic import new_folder
from flowercli.bundle import CONFIG, ONNX, ONNX_INT8, Bundle, add_files
from flowercli.data.manifest import class_indices
from flowercli.errors import ExportError, UsageError
from flowercli.export import parity
from flowercli.export.graph import export_fp32, load_deployed
from flowercli.export.quantize import CALIBRATIONS, calibration_batches, quantize
from flowercli.inference.preprocess import PreprocessSpec, load_pixels
from flowercli.training.answers import VARIANTS
from flowercli.training.bundle_data import BundleData, bundle_data

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from flowercli.export.parity import Check


@dataclass(frozen=True)
class ExportResult:
    """The bundle with its new files, and how each compares with torch."""

    bundle: Bundle
    checks: list[Check] = field(default_factory=list)


@dataclass(frozen=True)
class Reference:
    """What the exports are held to: torch's answers on the validation photographs."""

    pixels: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]


def export(
    bundle: Bundle,
    *,
    onnx: bool,
    int8: bool,
    data: Path | None = None,
    max_drop: float = 0.5,
    output: Path | None = None,
    say: Callable[[str], None] = lambda _message: None,
) -> ExportResult:
    """Export a bundle's model and add the files to it.

    Args:
        bundle: a folder with torch weights.
        onnx: write ``model.onnx``, fp32.
        int8: write ``model.int8.onnx``.
        data: the dataset, if it is not where it was at training.
        max_drop: points of validation accuracy that int8 may lose against torch.
        output: where to make a copy of the bundle that gets the files instead; it must not exist.
        say: called with what is being done.

    Raises:
        ExportError: an export differs too much from torch. Nothing is written.
        DataError: the photographs of the bundle cannot be found.
    """
    if not (onnx or int8):
        raise UsageError("Nothing to export.", hint=f"flowers export {bundle.path} --onnx --int8")
    if bundle.is_lone_onnx:
        raise UsageError(f"{bundle.path} is a lone .onnx, without the weights an export is made from.")
    if output is not None and output.exists():
        raise UsageError(f"{output} exists already.", hint="Remove it, or give another folder to --output.")
    with tempfile.TemporaryDirectory(prefix="flowers-export-") as temporary:
        found = bundle_data(bundle, data)
        files, checks = _make_files(bundle, Path(temporary), found, max_drop, say, onnx=onnx, int8=int8)
        records = {**bundle.section.get("exports", {}), **{check.file: check.as_dict() for check in checks}}
        target = bundle if output is None else _copy(bundle, output)
        metrics = _still_true(bundle, set(files))
        return ExportResult(add_files(target, files, exports=records, metrics=metrics), checks)


def _copy(bundle: Bundle, output: Path) -> Bundle:
    """Copy what a bundle lists, and nothing else that may lie in its folder."""
    with new_folder(output) as folder:
        for name in (CONFIG, *bundle.section["files"]):
            shutil.copyfile(bundle.path / name, folder / name)
    return Bundle.load(output)


def _make_files(
    bundle: Bundle,
    folder: Path,
    data: BundleData,
    max_drop: float,
    say: Callable[[str], None],
    *,
    onnx: bool,
    int8: bool,
) -> tuple[dict[str, Path], list[Check]]:
    say("Asking torch about the validation photographs")
    model = load_deployed(bundle)
    reference = _reference(bundle, data, parity.torch_answers(model))
    fp32 = folder / ONNX
    say("Exporting fp32")
    export_fp32(bundle, fp32)
    parity.check_batches(ONNX, parity.onnx_answers(fp32), parity.torch_answers(model), reference.pixels)
    files, checks = {ONNX: fp32}, [_compare(fp32, ONNX, "fp32", reference)]
    if int8:
        path, check = _quantize_best(bundle, fp32, data, reference, max_drop, say)
        files[ONNX_INT8] = path
        checks.append(check)
    if not onnx:
        files.pop(ONNX)
        checks.pop(0)
    return files, checks


def _still_true(bundle: Bundle, replaced: set[str]) -> dict[str, Any]:
    """Return the recorded metrics without those of files that are replaced."""
    stale = {variant for variant, name in VARIANTS.items() if name in replaced}
    metrics: dict[str, dict[str, Any]] = bundle.section.get("metrics", {})
    return {split: {k: v for k, v in variants.items() if k not in stale} for split, variants in metrics.items()}


def _quantize_best(
    bundle: Bundle,
    fp32: Path,
    data: BundleData,
    reference: Reference,
    max_drop: float,
    say: Callable[[str], None],
) -> tuple[Path, Check]:
    """Quantize with one calibration after the other until one keeps the accuracy.

    Raises:
        ExportError: none does.
    """
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    batches = calibration_batches([data.root / photo.path for photo in data.photos("train")], spec)
    drops = []
    for method in CALIBRATIONS:
        say(f"Quantizing to int8, calibrated by {method}")
        target = fp32.with_name(f"{method}.onnx")
        quantize(bundle, fp32, batches, method, target)
        check = _compare(target, ONNX_INT8, method, reference)
        assert check.drop is not None
        if check.drop <= max_drop:
            return target, check
        drops.append(f"{method} {check.drop:.1f}")
    message = f"int8 loses more than {max_drop:g} points of validation accuracy ({', '.join(drops)})."
    raise ExportError(f"{message} Nothing was written.", hint="Accept more with --max-drop, or export --onnx only.")


def _reference(bundle: Bundle, data: BundleData, answer: parity.Answer) -> Reference:
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    photos = data.photos("val")
    pixels = np.stack([load_pixels(data.root / photo.path, spec) for photo in photos])
    targets = np.array(class_indices(photos, bundle.class_names))
    return Reference(pixels, targets, parity.ask_in_batches(answer, pixels))


def _compare(path: Path, name: str, method: str, reference: Reference) -> Check:
    return parity.compare(path, name, method, reference.probabilities, reference.pixels, reference.targets)


def as_json(result: ExportResult) -> dict[str, Any]:
    """Return the result as ``flowers export --json`` prints it."""
    return {"bundle": str(result.bundle.path), "exports": [check.as_dict() for check in result.checks]}
