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
    outliers: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures that show no flower, if they have moved.")
    ] = None,
    device: Device = None,
) -> None:
    """Add to a bundle what its model says of validation photographs, which `flowers drift` compares logs with.

    Training writes it too; this is for bundles from before, and for a graph that was exported since. And add what the
    model sees of them, which `flowers teach` needs.
    """
    from dataclasses import replace

    from flowercli.bundle import EMBEDDINGS, REFERENCE
    from flowercli.cli.progress import advancing
    from flowercli.data.manifest import entry_table
    from flowercli.evaluation.bundle_data import bundle_data
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.session import CPU
    from flowercli.models import FOLDER, load_model
    from flowercli.monitoring.reference import add_reference, choose
    from flowercli.teaching.exemplars import make_exemplars, put_into

    source = load_model(bundle)
    if source.is_lone_onnx or FOLDER in source.path.resolve().parents:
        message = f"{source.path} is not to be changed: a lone .onnx, or a model of the package."
        copied = (
            None if source.is_lone_onnx else f"Of a copy: cp -r {in_shell(source.path)} mine; flowers reference mine"
        )
        raise UsageError(message, hint=copied)
    found = bundle_data(source, data, outliers)
    if found.outliers_at is None and found.manifest.outliers:
        note("Without the pictures that show no flower, as it is not known where they are: --outliers DIR")
        found = replace(found, manifest=replace(found.manifest, outliers=entry_table()))
    photos = choose(found.manifest)
    with advancing() as advance:
        found.check_unchanged("val", advance)
        classifier = Classifier.open(source, device)
        # What is taught stands behind the graph for CPUs, whatever runs here.
        seeing = classifier if classifier.runtime.device == CPU else Classifier.open(source, CPU)
        exemplars = make_exemplars(seeing, found, advance)
        changed = add_reference(classifier, found.root, photos, advance)
        put_into(changed, exemplars, seeing.runtime.graph)
    note(f"{counted(len(photos), 'photograph')}, {classifier.runtime.graph}: {source.path / REFERENCE}")
    note(f"{counted(len(exemplars), 'picture')}, {seeing.runtime.graph}: {source.path / EMBEDDINGS}")
