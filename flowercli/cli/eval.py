"""``flowers eval``: how good a bundle is on one split of its dataset."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from flowercli.bundle import Bundle
    from flowercli.training.bundle_data import BundleData
    from flowercli.training.evaluation import Evaluation


def evaluate(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle folder, .onnx file or shipped model.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    data: Annotated[Path | None, typer.Option(help="The dataset, if it has moved since training.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page with figures too.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print every metric as JSON.")] = False,
) -> None:
    """Evaluate a bundle: its torch weights and each of its ONNX files, with 95 % confidence intervals.

    The photographs are those of the bundle's own manifest; their hashes are compared first. The
    metrics are also written into the bundle's config.json and model card.
    """
    from flowercli.cli.output import note, print_json
    from flowercli.data.split import SPLITS
    from flowercli.errors import UsageError, needs_extra
    from flowercli.models import load_model

    if split not in SPLITS:
        raise UsageError(f"--split {split}: choose one of {', '.join(SPLITS)}.")
    with needs_extra("train"):
        from flowercli.cli.eval_report import print_evaluation
        from flowercli.training import evaluation
        from flowercli.training.bundle_data import bundle_data
        from flowercli.training.report import check_target, write_report
    if report is not None:
        check_target(report)
    loaded = load_model(bundle)
    photos = bundle_data(loaded, data)
    result = _evaluate(loaded, split, photos)
    if evaluation.can_record(loaded):
        with tempfile.TemporaryDirectory(prefix="flowers-eval-") as scratch:
            evaluation.record(result, Path(scratch))
    else:
        note(f"The metrics are not written into {loaded.path}: it is read-only or a single file.")
    if report is not None:
        write_report(report, result, photos)
        note(f"The report: {report}")
    if json_output:
        print_json(result.as_dict())
    else:
        print_evaluation(result)


def _evaluate(bundle: Bundle, split: str, data: BundleData) -> Evaluation:
    from flowercli.cli.output import progress_bar
    from flowercli.training.evaluation import evaluate_bundle

    with progress_bar("Evaluating {task.fields[variant]}") as progress:
        tasks: dict[str, TaskID] = {}

        def advance(variant: str, total: int) -> None:
            if variant not in tasks:
                tasks[variant] = progress.add_task("eval", total=total, variant=variant)
            progress.advance(tasks[variant])

        return evaluate_bundle(bundle, data, split, advance)
