"""``flowers export``: make the files, check each against torch, and only then put them into the bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.atomic import new_folder, scratch_folder
from flowercli.bundle import CONFIG, FORMATS, ONNX, PORTABLE, Bundle, GraphFormat, add_files
from flowercli.data.manifest import class_indices
from flowercli.data.shards import photographs
from flowercli.evaluation.answers import VARIANTS
from flowercli.evaluation.bundle_data import BundleData, bundle_data, pixels_of
from flowercli.evaluation.intervals import share
from flowercli.export import parity
from flowercli.export.check import Check, require_accuracy
from flowercli.export.graph import export_fp32, load_deployed
from flowercli.export.parity import Job, Made, TorchAnswers
from flowercli.inference.classifier import Classifier
from flowercli.inference.preprocess import PreprocessSpec
from flowercli.monitoring.reference import add_reference, choose
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    from flowercli.export.engine_process import Tick

    Say = Callable[[str], None]

# All of them at once, so that a package that is missing is told before the work begins.
WRITERS: Mapping[GraphFormat, Callable[[Job], Made]] = {
    form: import_module(f"flowercli.export.{form.writer}").write for form in FORMATS
}


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
        formats: names of ``FORMATS``, one or more. What one of them is made from is made too where there is none yet.
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
    forms = _forms(bundle, formats)
    with scratch_folder("export") as folder:
        found = bundle_data(bundle, data)
        for split in ("val", "train") if any(form.calibrated for form in forms) else ("val",):
            found.check_unchanged(split, advance)
        say("Asking torch about the validation photographs")
        answer = parity.torch_answers(load_deployed(bundle))
        job = Job(bundle, found, folder, _ask_torch(bundle, found, answer, advance), max_drop, say, advance, tick)
        _write_fp32(job, answer)
        made = _make(job, forms)
        checks = [one.attempts[-1] for one in made]
        records = {check.file: asdict(check) | one.facts for check, one in zip(checks, made, strict=True)}
        files = {name: folder / name for form in forms for name in form.files}
        target = bundle if output is None else _copy(bundle, output)
        exports = {**bundle.section.get("exports", {}), **records}
        bundle = add_files(target, files, exports=exports, metrics=_still_true(bundle, set(files)))
        if files.keys() & set(PORTABLE):  # What answers now, so what is to be compared with.
            bundle = add_reference(Classifier.open(bundle, "cpu"), found.root, choose(found.manifest), advance)
        return ExportResult(bundle, checks, share(job.source.right, len(job.source.targets)))


def _forms(bundle: Bundle, names: Collection[str]) -> list[GraphFormat]:
    """Return what to make, in order: what was asked for, and what that is made from and the bundle lacks."""
    asked = {form for form in FORMATS if form.name in names}
    needed = {form.made_from for form in asked} - bundle.section["files"].keys()
    return [form for form in FORMATS if form in asked or form.file in needed]


def _copy(bundle: Bundle, output: Path) -> Bundle:
    """Copy what a bundle lists, and nothing else that may lie in its folder."""
    with new_folder(output) as folder:
        for name in (CONFIG, *bundle.section["files"]):
            shutil.copyfile(bundle.path / name, folder / name)
    return Bundle.load(output)


def _write_fp32(job: Job, answer: parity.Answer) -> None:
    """Write the graph that all others come from, and hold it to torch."""
    job.say("Exporting fp32")
    path = job.folder / ONNX
    export_fp32(job.bundle, path)
    parity.check_batches(ONNX, parity.onnx_answers(path, job.bundle), answer, job.source.pixels)


def _make(job: Job, forms: Sequence[GraphFormat]) -> list[Made]:
    made: list[Made] = []
    attempts: list[Check] = []
    for form in forms:
        if form.machine_bound:  # It takes minutes.
            require_accuracy(attempts, job.max_drop)
        made.append(WRITERS[form](job))
        attempts += made[-1].attempts
    require_accuracy(attempts, job.max_drop)
    return made


def _still_true(bundle: Bundle, replaced: set[str]) -> dict[str, Any]:
    """Return the recorded metrics without those of files that are replaced."""
    stale = {variant for variant, name in VARIANTS.items() if name in replaced}
    metrics: dict[str, dict[str, Any]] = bundle.section.get("metrics", {})
    return {split: {k: v for k, v in variants.items() if k not in stale} for split, variants in metrics.items()}


def _ask_torch(bundle: Bundle, data: BundleData, answer: parity.Answer, advance: Advance) -> TorchAnswers:
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    photos = data.photos("val")
    sources = photographs(data.root, photos)
    pixels = np.stack([pixels_of(sources, place, spec) for place in range(len(photos))])
    return parity.ask_torch(pixels, np.array(class_indices(photos, bundle.class_names)), answer, advance)
