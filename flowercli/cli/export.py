"""``flowers export``: from a trained bundle to ONNX files that agree with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flowercli.export.run import ExportResult


def export(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle folder, as flowers train writes it.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write model.onnx: fp32, dynamic batch.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Write model.int8.onnx: static QDQ int8.")] = False,
    data: Annotated[Path | None, typer.Option(help="The dataset, if it has moved since training.")] = None,
    max_drop: Annotated[float, typer.Option(help="Points of validation accuracy that int8 may lose.")] = 0.5,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Add the files to a copy of the bundle, made there.")
    ] = None,
    dvc: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the checks as metrics for DVC there too.")
    ] = None,
    triton: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write a model repository for Triton there; needs no torch.")
    ] = None,
    triton_backend: Annotated[
        str, typer.Option(metavar="NAME", help="What runs the graph in Triton: onnxruntime, python or tensorrt.")
    ] = "onnxruntime",
    json_output: Annotated[bool, typer.Option("--json", help="Print the results as JSON, one line an export.")] = False,
) -> None:
    """Export a model to ONNX, check it against torch, and add it to its bundle.

    The graph takes uint8 pixels [N, H, W, 3]; normalisation, calibration temperature and softmax are inside.
    A file that does not agree with the torch weights is refused, and nothing is written.
    """
    from flowercli.bundle import Bundle
    from flowercli.cli.export_triton import check_triton, export_triton
    from flowercli.cli.output import note, print_json
    from flowercli.errors import needs_extra

    check_triton(triton, triton_backend)
    if triton is not None and not (onnx or int8):
        export_triton(str(bundle), triton, triton_backend, json_output=json_output)
        return
    with needs_extra("train"):
        from flowercli.export.run import as_json
        from flowercli.export.run import export as run_export
    result = run_export(
        Bundle.load(bundle), onnx=onnx, int8=int8, data=data, max_drop=max_drop, output=output, say=note
    )
    if dvc is not None:
        from flowercli.reporting.dvc_files import write_dvc_checks
        from flowercli.training.answers import VARIANTS

        names = {file: variant for variant, file in VARIANTS.items()}
        write_dvc_checks(dvc, {names[check.file]: check.as_dict() for check in result.checks})
    if json_output:
        print_json(as_json(result))
    else:
        _print_checks(result)
    if triton is not None:
        export_triton(str(result.bundle.path), triton, triton_backend, json_output=json_output)


def _print_checks(result: ExportResult) -> None:
    from flowercli.cli.output import note, print_table

    columns = ("File", "Size", "Made by", "Max diff.", "Mean diff.", "Same answer", "Val accuracy", "Lost")
    rows = [
        (
            check.file,
            f"{check.size / 1e6:.2f} MB",
            check.method,
            f"{check.max_difference:.1e}",
            f"{check.mean_difference:.1e}",
            f"{check.agreement:.2%}",
            "" if check.accuracy is None else f"{check.accuracy:.2%}",
            "" if check.drop is None else f"{check.drop:.2f} pt",
        )
        for check in result.checks
    ]
    print_table(columns, rows, title=f"{result.bundle.path}: against torch on {result.checks[0].photos} photographs")
    note(f"Now: flowers classify PICTURE --model {result.bundle.path}")
