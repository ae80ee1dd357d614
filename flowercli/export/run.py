"""``flowers export``: make the files, check each against torch, and only then put them into the bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flowercli.atomic import new_folder, scratch_folder
from flowercli.bundle import (
    CONFIG,
    MACHINE_BOUND,
    ONNX,
    ONNX_FP16,
    ONNX_INT8,
    PLAN,
    Bundle,
    add_files,
)
from flowercli.data.manifest import class_indices
from flowercli.export import parity
from flowercli.export.check import require_accuracy
from flowercli.export.engine import UNKNOWN, build_engine, engine_answers
from flowercli.export.graph import export_fp32, load_deployed
from flowercli.export.half import convert_fp16
from flowercli.export.quantize import CALIBRATIONS, WEIGHT_BITS, Quantizer, calibration_batches
from flowercli.inference.classifier import Classifier
from flowercli.inference.preprocess import PreprocessSpec
from flowercli.monitoring.sampling import add_reference, choose
from flowercli.progress import untold
from flowercli.training.answers import VARIANTS
from flowercli.training.bundle_data import BundleData, bundle_data, pixels_of
from flowercli.training.intervals import share

Say = Callable[[str], None]

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from flowercli.export.check import Check
    from flowercli.export.engine_process import Tick
    from flowercli.export.parity import Reference
    from flowercli.inference.engine import Engine
    from flowercli.progress import Advance


class Told(NamedTuple):
    """What is called with each thing that is begun, and as its parts are done."""

    say: Say
    advance: Advance


# What --trt is called among the formats; the others are those of VARIANTS.
TRT = "trt"


@dataclass(frozen=True)
class ExportResult:
    """The bundle with its new files, how each compares with torch, and torch's own accuracy with its interval."""

    bundle: Bundle
    checks: list[Check]
    torch_accuracy: dict[str, float]


def export(
    bundle: Bundle,
    formats: Collection[str],
    *,
    data: Path | None = None,
    max_drop: float | None = None,
    output: Path | None = None,
    say: Say = lambda _message: None,
    tick: Tick = lambda _seconds: None,
    advance: Advance = untold,
) -> ExportResult:
    """Export a bundle's model and add the files to it.

    Args:
        bundle: a folder with torch weights.
        formats: of ``onnx`` (fp32), ``fp16``, ``int8`` and ``trt``; one or more. ``trt`` brings ``fp16`` if need be.
        data: the dataset, if it is not where it was at training.
        max_drop: points of validation accuracy that an export may lose against torch; without it, what
            :meth:`Check.keeps_accuracy` allows.
        output: where to make a copy of the bundle that gets the files instead; it must not exist.
        say: called with what is being done.
        tick: called about once a second while an engine is built, with the seconds since it began.
        advance: called after each photograph, batch and layer.

    Raises:
        ExportError: an export differs too much from torch. Nothing is written.
        DataError: the photographs of the bundle cannot be found, or were edited.
    """
    told = Told(say, advance)
    with scratch_folder("export") as folder:
        found = bundle_data(bundle, data)
        for split in ("val", "train") if "int8" in formats else ("val",):
            found.check_unchanged(split, advance)
        if TRT in formats and ONNX_FP16 not in bundle.section["files"]:
            formats = {*formats, "fp16"}
        checks, source = _make_files(bundle, formats, folder, found, max_drop, told)
        names = [VARIANTS[name] for name in formats if name != TRT]
        records = {**bundle.section.get("exports", {}), **{check.file: check.as_dict() for check in checks}}
        if TRT in formats:
            engine, check = _make_engine(bundle, folder, source, told, tick)
            checks.append(check)
            require_accuracy(checks, max_drop)
            # What a Triton repository has to know besides.
            bound = {"compute_capability": engine.compute_capability, "max_batch": engine.profile["max"]}
            records[PLAN] = check.as_dict() | bound
            names += MACHINE_BOUND
        files = {name: folder / name for name in names}
        target = bundle if output is None else _copy(bundle, output)
        bundle = add_files(target, files, exports=records, metrics=_still_true(bundle, set(files)))
        if {"onnx", "int8"} & set(formats):  # What answers now, so what is to be compared with.
            bundle = add_reference(Classifier.open(bundle, "cpu"), found.root, choose(found.manifest), advance)
        return ExportResult(bundle, checks, share(source.right, len(source.targets)))


def _copy(bundle: Bundle, output: Path) -> Bundle:
    """Copy what a bundle lists, and nothing else that may lie in its folder."""
    with new_folder(output) as folder:
        for name in (CONFIG, *bundle.section["files"]):
            shutil.copyfile(bundle.path / name, folder / name)
    return Bundle.load(output)


def _make_files(
    bundle: Bundle, formats: Collection[str], folder: Path, data: BundleData, max_drop: float | None, told: Told
) -> tuple[list[Check], Reference]:
    """Write the files into ``folder`` and return how they compare; fp32 is always made, the others come from it."""
    told.say("Asking torch about the validation photographs")
    model = load_deployed(bundle)
    source = _reference(bundle, data, parity.torch_answers(model), told.advance)
    fp32, half = folder / ONNX, folder / ONNX_FP16
    told.say("Exporting fp32")
    export_fp32(bundle, fp32)
    answers = parity.onnx_answers(fp32, bundle)
    parity.check_batches(ONNX, answers, parity.torch_answers(model), source.pixels)
    checks = []
    if "onnx" in formats:
        checks.append(parity.compare(answers, fp32, ONNX, "fp32", source, told.advance))
    if "fp16" in formats:
        told.say("Converting to fp16")
        convert_fp16(bundle, fp32, half)
        checks.append(parity.compare(parity.onnx_answers(half, bundle), half, ONNX_FP16, "fp16", source, told.advance))
    attempts = _quantize_best(bundle, fp32, data, source, max_drop, told) if "int8" in formats else []
    require_accuracy([*checks, *attempts], max_drop)
    return [*checks, *attempts[-1:]], source


def _make_engine(bundle: Bundle, folder: Path, source: Reference, told: Told, tick: Tick) -> tuple[Engine, Check]:
    """Build an engine from the fp16 graph, the new one or that of the bundle, and ask it as ``classify`` will."""
    half = folder / ONNX_FP16
    if not half.exists():
        shutil.copyfile(bundle.file(ONNX_FP16), half)
    told.say("Building a TensorRT engine: this takes minutes")
    engine = build_engine(bundle, half, folder, tick)
    if engine.precision == UNKNOWN:
        told.say(
            "TensorRT does not show in which precision it built the engine; the check below is what is known of it"
        )
    answers = engine_answers(bundle, folder)
    return engine, parity.compare(answers, folder / PLAN, PLAN, f"TensorRT {engine.tensorrt}", source, told.advance)


def _still_true(bundle: Bundle, replaced: set[str]) -> dict[str, Any]:
    """Return the recorded metrics without those of files that are replaced."""
    stale = {variant for variant, name in VARIANTS.items() if name in replaced}
    metrics: dict[str, dict[str, Any]] = bundle.section.get("metrics", {})
    return {split: {k: v for k, v in variants.items() if k not in stale} for split, variants in metrics.items()}


def _quantize_best(
    bundle: Bundle, fp32: Path, data: BundleData, source: Reference, max_drop: float | None, told: Told
) -> list[Check]:
    """Quantize with one calibration after the other until one keeps the accuracy; return all attempts."""
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    batches = calibration_batches([data.root / photo.path for photo in data.photos("train")], spec, told.advance)
    quantizer, target = Quantizer(bundle, fp32, batches, told.advance), fp32.with_name(ONNX_INT8)
    attempts: list[Check] = []
    for method in CALIBRATIONS:
        told.say(f"Quantizing to int8, calibrated by {method}")
        quantizer.write(method, target)
        check = parity.compare(parity.onnx_answers(target, bundle), target, ONNX_INT8, method, source, told.advance)
        attempts.append(replace(check, weight_bits=WEIGHT_BITS))
        if attempts[-1].keeps_accuracy(max_drop):
            break
    return attempts


def _reference(bundle: Bundle, data: BundleData, answer: parity.Answer, advance: Advance) -> Reference:
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    photos = data.photos("val")
    pixels = np.stack([pixels_of(data.root / photo.path, spec) for photo in photos])
    return parity.reference(pixels, np.array(class_indices(photos, bundle.class_names)), answer, advance)
