"""``flowers eval``: how good a bundle is on one split of its dataset."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from flowercli.bundle import Bundle
    from flowercli.training.evaluation import Evaluation


def evaluate(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle folder, .onnx file or shipped model.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    data: Annotated[Path | None, typer.Option(help="The dataset, if it has moved since training.")] = None,
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
    loaded = load_model(bundle)
    result = _evaluate(loaded, split, data)
    if evaluation.can_record(loaded):
        with tempfile.TemporaryDirectory(prefix="flowers-eval-") as scratch:
            evaluation.record(result, Path(scratch))
    else:
        note(f"The metrics are not written into {loaded.path}: it is read-only or a single file.")
    if json_output:
        print_json(result.as_dict())
    else:
        print_evaluation(result)


def _evaluate(bundle: Bundle, split: str, data: Path | None) -> Evaluation:
    from flowercli.cli.output import progress_bar
    from flowercli.training.bundle_data import bundle_data
    from flowercli.training.evaluation import evaluate_bundle

    with progress_bar("Evaluating {task.fields[variant]}") as progress:
        tasks: dict[str, TaskID] = {}

        def advance(variant: str, total: int) -> None:
            if variant not in tasks:
                tasks[variant] = progress.add_task("eval", total=total, variant=variant)
            progress.advance(tasks[variant])

        return evaluate_bundle(bundle, bundle_data(bundle, data), split, advance)
