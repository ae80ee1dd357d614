"""``flowers eval``: how good a bundle is, whether it beats another one, and which labels look wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.atomic import scratch_folder
from flowercli.cli.completion import splits
from flowercli.cli.options import BatchSize, Only, OutliersFolder
from flowercli.cli.output import check_target, note, print_json
from flowercli.errors import UsageError, needs_extra

if TYPE_CHECKING:
    from flowercli.bundle import Bundle
    from flowercli.evaluation.answers import Runs
    from flowercli.evaluation.bundle_data import BundleData


def evaluate(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A bundle folder, a .onnx file or the name of a model.")
    ],
    split: Annotated[str, typer.Option(autocompletion=splits, help="train, val or test.")] = "test",
    data: Annotated[
        Path | None, typer.Option(help="The dataset, if it has moved; or any folder with one subfolder a class.")
    ] = None,
    outliers: OutliersFolder = None,
    only: Only = None,
    against: Annotated[
        str | None, typer.Option(metavar="BUNDLE", help="Compare with this bundle instead, on the same photographs.")
    ] = None,
    find_label_errors: Annotated[
        bool,
        typer.Option("--find-label-errors", help="List photographs of all splits whose label looks wrong instead."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also write a page of figures and photographs that holds all it shows."),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="What runs the ONNX files: auto, tensorrt, cuda or cpu.")
    ] = "cpu",
    batch_size: BatchSize = None,
    dvc: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write metrics and plots for DVC there, and leave the bundle as it is: a stage's input.",
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Evaluate a bundle: its torch weights and each of its ONNX files, with 95 % confidence intervals.

    The photographs are those of the bundle's own manifest; their hashes are compared first. In a folder that holds none
    of them, all are asked about (not by --against and --find-label-errors): class names become the model's, and what it
    has no class for is to be refused. The
    metrics are also written into the bundle's config.json, and into its model card unless people changed that.
    """
    from flowercli.data.split import SPLITS
    from flowercli.inference.session import CPU, requested_device
    from flowercli.models import load_model

    if split not in SPLITS:
        raise UsageError(f"--split {split}: choose one of {', '.join(SPLITS)}.")
    if against is not None and find_label_errors:
        raise UsageError("--against and --find-label-errors are two different questions: give one of them.")
    if dvc is not None and (against is not None or find_label_errors):
        raise UsageError(
            "--dvc writes the metrics of one bundle: it goes with neither --against nor --find-label-errors."
        )
    if only is not None and (against is not None or find_label_errors):
        raise UsageError("--only goes with neither --against nor --find-label-errors.")
    if (device != CPU or batch_size is not None) and (against is not None or find_label_errors):
        raise UsageError("--device and --batch-size go with neither --against nor --find-label-errors.")
    if against is not None and report is not None:
        raise UsageError("--report shows one bundle: it does not go with --against.")
    requested_device(device)
    loaded = load_model(bundle)
    with needs_extra("train"):
        if report is not None:
            check_target("--report", report, "report.html")
        if against is not None:
            _compare(loaded, load_model(against), split, data, json_output=json_output)
        elif find_label_errors:
            _find_label_errors(loaded, data, report, json_output=json_output)
        else:
            from flowercli.cli.progress import advancing
            from flowercli.evaluation.answers import Runs
            from flowercli.evaluation.labelled_folder import data_to_evaluate

            names = _only(loaded, only)
            with advancing() as advance:
                photos = data_to_evaluate(loaded, data, outliers, note, advance)
            _evaluate(loaded, split, photos, names, Runs(device, batch_size), report, dvc, json_output=json_output)


def _only(bundle: Bundle, only: str | None) -> list[str]:
    """Return the class names that may be answered; none stands for all of them.

    Raises:
        UsageError: the model does not know one of them.
    """
    from flowercli.inference.classifier import answerable, parse_only

    return [] if only is None else answerable(bundle, parse_only(only))


def _evaluate(
    bundle: Bundle,
    split: str,
    photos: BundleData,
    only: list[str],
    runs: Runs,
    report: Path | None,
    dvc: Path | None,
    *,
    json_output: bool,
) -> None:
    from flowercli.bundle import CARD
    from flowercli.cli.eval_report import print_evaluation
    from flowercli.cli.progress import advancing
    from flowercli.cli.train_tracking import add_to_run
    from flowercli.evaluation.evaluate import can_record, evaluate_bundle, record

    with advancing() as advance:
        result = evaluate_bundle(bundle, photos, split, advance, only=only, runs=runs)
    if dvc is not None:
        from flowercli.reporting.dvc_files import write_dvc_files

        write_dvc_files(dvc, result)
    elif not photos.is_its_own:
        note("The metrics are not written into the bundle: those of its own dataset alone are.")
    elif only:
        note("The metrics are not written into the bundle: they are of some of its classes.")
    elif can_record(bundle):
        with scratch_folder("eval") as scratch:
            recorded = record(result, scratch)
        add_to_run(result)
        if recorded.card_is_corrected:
            note(f"{bundle.path / CARD} was changed by hand and stays as it is. Without it, eval writes a new one.")
    else:
        if not photos.manifest.outliers:
            note("How well it refuses is not measured without pictures to refuse: --outliers DIR")
        note(f"The metrics are not written into {bundle.path}: it is shipped, a delivery, read-only or a single file.")
    if json_output:
        print_json(result.as_dict())
    else:
        print_evaluation(result)
    if report is not None:
        from flowercli.reporting.report import write_report

        write_report(report, result, photos)
        note(f"The page: {report}")


def _compare(bundle: Bundle, other: Bundle, split: str, data: Path | None, *, json_output: bool) -> None:
    from flowercli.cli.eval_report import print_comparison
    from flowercli.cli.progress import advancing
    from flowercli.evaluation.bundle_data import bundle_data
    from flowercli.evaluation.comparison import compare_bundles

    with advancing() as advance:
        comparison = compare_bundles(bundle, other, bundle_data(bundle, data), split, advance)
    if json_output:
        print_json(comparison.as_dict())
    else:
        print_comparison(comparison)


def _find_label_errors(bundle: Bundle, data: Path | None, report: Path | None, *, json_output: bool) -> None:
    from flowercli.cli.eval_report import print_label_errors, tell_limits
    from flowercli.cli.progress import advancing
    from flowercli.evaluation.bundle_data import bundle_data
    from flowercli.evaluation.label_errors import find_label_errors

    with advancing() as advance:
        errors = find_label_errors(bundle, bundle_data(bundle, data), advance)
    if json_output:
        print_json(errors.as_dict())
        tell_limits(errors)
    else:
        print_label_errors(errors)
    if report is not None:
        from flowercli.reporting.report import write_label_report

        write_label_report(report, errors)
        note(f"The page: {report}")
