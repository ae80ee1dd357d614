"""``flowers average``: one model out of several runs of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.options import finite
from flowercli.cli.output import note, print_text
from flowercli.errors import needs_extra
from flowercli.shown import in_shell, percent


def average(
    bundles: Annotated[
        list[str], typer.Argument(metavar="BUNDLE...", help="Bundles of one recipe with several seeds.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new bundle.")],
    data: Annotated[Path | None, typer.Option(help="The dataset, if it has moved since training.")] = None,
    accept: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            min=0.5,
            max=1,
            show_default="that of the first run",
            help="Share of right validation answers not to reject.",
        ),
    ] = None,
) -> None:
    """Average the weights of several runs into one new bundle.

    Runs that started from the same pretrained weights and differ in their seed often answer better
    together; the mean of their weights keeps most of that, in one model. It is calibrated anew on
    validation, and has no ONNX files yet.
    """
    from flowercli.cli.progress import advancing
    from flowercli.models import load_model

    loaded = [load_model(name) for name in bundles]
    with needs_extra("train"):
        from flowercli.evaluation.bundle_data import bundle_data
        from flowercli.training.average import average as average_bundles
    with advancing() as advance:
        result = average_bundles(loaded, bundle_data(loaded[0], data), output, accept, advance)
    metrics = result.section["metrics"]["val"]["torch"]
    accuracy = metrics["accuracy"]["value"]
    note(f"Accuracy on validation {percent(accuracy, 2)}. Now: flowers export {in_shell(result.path)} --onnx --int8")
    # The one line of data: where the bundle is.
    print_text(result.path)
