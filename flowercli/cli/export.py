"""``flowers export``: from a trained bundle to ONNX files that agree with it, and to packages for others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercli.cli.options import finite
from flowercli.cli.output import note
from flowercli.errors import UsageError, needs_extra
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.bundle import Bundle
    from flowercli.export.into_bundle import ExportResult


def _folder(text: str) -> Any:
    """Return an option for a folder that is written."""
    return typer.Option(metavar="FOLDER", help=text)


def export(
    bundle: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE", help="A bundle folder, or a downloaded model; for packages alone, a shipped one too."
        ),
    ],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write model.onnx: fp32, dynamic batch.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Write model.fp16.onnx: half precision, for GPUs.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Write model.int8.onnx: static QDQ int8.")] = False,
    trt: Annotated[
        bool, typer.Option("--trt", help="Build a TensorRT engine, for GPUs like the one here, from the fp16 graph.")
    ] = False,
    mlflow: Annotated[Path | None, _folder("Pack an MLflow model that answers without torch, there.")] = None,
    delivery: Annotated[Path | None, _folder("Pack the model with a client that needs no flowers, there.")] = None,
    data: Annotated[Path | None, typer.Option(help="The dataset, if it has moved since training.")] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            show_default="0.5, or one photograph",
            help="Points of validation accuracy that an export may lose.",
        ),
    ] = None,
    output: Annotated[Path | None, _folder("Add the files to a copy of the bundle, made there.")] = None,
    dvc: Annotated[Path | None, _folder("Write the checks as metrics for DVC there too.")] = None,
    triton: Annotated[Path | None, _folder("Write a model repository for Triton there; needs no torch.")] = None,
    triton_backend: Annotated[
        str, typer.Option(metavar="NAME", help="What runs the graph in Triton: onnxruntime, python or tensorrt.")
    ] = "onnxruntime",
    web: Annotated[Path | None, _folder("Write a static site that answers in the browser there.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the results as JSON, one line an export.")] = False,
) -> None:
    """Export a model to ONNX, check it against torch, and add it to its bundle; pack it for others.

    The graph takes uint8 pixels [N, H, W, 3]; normalisation, calibration temperature and softmax are inside.
    A file that does not agree with the torch weights is refused, and nothing is written.
    """
    from flowercli.bundle import FORMATS
    from flowercli.cli.export_report import show_export
    from flowercli.export.check import LostAccuracyError
    from flowercli.export.package import Options
    from flowercli.export.packages import require_possible, write_packages
    from flowercli.models import load_model

    asked = {"onnx": onnx, "fp16": fp16, "int8": int8, "tensorrt": trt}
    formats = [name for name, wanted in asked.items() if wanted]
    folders = {"mlflow": mlflow, "delivery": delivery, "triton": triton, "web": web}
    packages = {name: folder for name, folder in folders.items() if folder}
    options = Options(max_drop, triton_backend)
    if not (formats or packages):
        raise UsageError("Nothing to export.", hint=f"flowers export {in_shell(bundle)} --onnx --int8")
    if not formats and (data or output or dvc):
        *others, last = (form.option for form in FORMATS)
        raise UsageError(f"--data, --output and --dvc go with {', '.join(others)} and {last}.")
    require_possible(packages, options, output)
    source = load_model(bundle)
    try:
        result = _export(source, formats, data, max_drop, output) if formats else None
        target = result.bundle if result else source
        if dvc is not None and result is not None:
            _write_dvc(dvc, result)
        checks, packed = write_packages(target, packages, options, note)
    except LostAccuracyError as error:
        show_export(source, error.checks, json_output=json_output)
        raise
    checks = [*result.checks, *checks] if result else checks
    show_export(target, checks, result.torch_accuracy if result else None, packed, json_output=json_output)


def _export(
    bundle: Bundle, formats: list[str], data: Path | None, max_drop: float | None, output: Path | None
) -> ExportResult:
    from flowercli.cli.progress import advancing, every_half_minute
    from flowercli.export.check import require_weights

    if "tensorrt" in formats:
        from flowercli.inference.tensorrt import require_tensorrt

        require_tensorrt("--trt")
    require_weights(bundle)
    with advancing() as advance:
        advance("Loading torch", 0, 0)
        with needs_extra("train"):
            from flowercli.export.into_bundle import export as run_export

        def say(message: str) -> None:
            note(message)
            advance(message, 0, 0)

        tick = every_half_minute("Building the TensorRT engine")
        where = {"data": data, "output": output}
        return run_export(bundle, formats, **where, max_drop=max_drop, say=say, tick=tick, advance=advance)


def _write_dvc(folder: Path, result: ExportResult) -> None:
    from flowercli.bundle import FORMATS
    from flowercli.reporting.dvc_files import write_dvc_checks

    names = {form.file: form.name for form in FORMATS}
    write_dvc_checks(folder, {names[check.file]: asdict(check) for check in result.checks})
