"""``flowers reference``: what a bundle says of its own photographs, for `flowers drift` to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.options import Device
from flowercli.cli.output import note
from flowercli.errors import UsageError
from flowercli.shown import counted, in_shell


def reference(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A bundle folder, or the name of a downloaded model.")
    ],
    data: Annotated[Path | None, typer.Option(help="The dataset, if it has moved since training.")] = None,
    device: Device = None,
) -> None:
    """Add to a bundle what its model says of validation photographs, which `flowers drift` compares logs with.

    Training writes it too; this is for bundles from before, and for a graph that was exported since.
    """
    from flowercli.bundle import REFERENCE
    from flowercli.cli.progress import advancing
    from flowercli.evaluation.bundle_data import bundle_data
    from flowercli.inference.classifier import Classifier
    from flowercli.models import FOLDER, load_model
    from flowercli.monitoring.reference import add_reference, choose

    source = load_model(bundle)
    if source.is_lone_onnx or FOLDER in source.path.resolve().parents:
        message = f"{source.path} is not to be changed: a lone .onnx, or a model of the package."
        copied = (
            None if source.is_lone_onnx else f"Of a copy: cp -r {in_shell(source.path)} mine; flowers reference mine"
        )
        raise UsageError(message, hint=copied)
    found = bundle_data(source, data)
    photos = choose(found.manifest)
    with advancing() as advance:
        found.check_unchanged("val", advance)
        classifier = Classifier.open(source, device)
        add_reference(classifier, found.root, photos, advance)
    note(f"{counted(len(photos), 'photograph')}, {classifier.runtime.graph}: {source.path / REFERENCE}")
