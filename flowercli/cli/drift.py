"""``flowers drift``: whether what a model is asked about still is what it was made for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.options import DEFAULT_MODEL
from flowercli.cli.output import check_target, note, print_json
from flowercli.errors import EXIT_DRIFT, UsageError, needs_extra
from flowercli.shown import counted


def drift(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A log that `flowers classify --log` or a server wrote.")],
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE",
            show_default=DEFAULT_MODEL,
            help="The model that answered: a bundle folder or a name from `flowers models`.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only answers from then on: 2026-11-24T08:00, or 12h or 7d ago.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(metavar="N", help="Judge the latest N answers, and earlier ones in windows of N.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the comparison: a file that ends in .svg or .png.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option("--export-parquet", metavar="FILE", help="Only write the log as Parquet, there.")
    ] = None,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Exit with 5 if the answers are drifting.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare the answers in a log with those about the model's own validation photographs.

    Confidence, how sure the model is that it knows the flower, brightness, size and the mix of classes are compared,
    each by a permutation test. The verdict is stable, drifting, or not enough data to tell.
    """
    from flowercli.cli.drift_report import show_verdict
    from flowercli.cli.progress import advancing
    from flowercli.models import load_model
    from flowercli.monitoring.drift import DRIFTING
    from flowercli.monitoring.history import judge, parse_since

    if parquet is not None:
        _export(log, parquet)
        return
    if plot is not None:
        _check_plot(plot)
    start = 0.0 if since is None else parse_since(since, time.time())
    with advancing() as advance:
        verdict = judge(log, load_model(reference), since=start, window=window, advance=advance)
    for said in verdict.notes:
        note(said)
    if json_output:
        print_json(verdict.as_dict())
    else:
        show_verdict(verdict)
    if plot is not None:
        from flowercli.reporting.drift_plot import write_plot

        write_plot(verdict, plot)
    if fail_on_drift and verdict.now.comparison.verdict == DRIFTING:
        raise typer.Exit(EXIT_DRIFT)


def _export(log: Path, target: Path) -> None:
    with needs_extra("serve"):
        from flowercli.monitoring.parquet import write_parquet
    note(f"{counted(write_parquet(log, target), 'answer')} in {target}")


def _check_plot(plot: Path) -> None:
    """Refuse before the work what could not be written after it."""
    if plot.suffix not in {".svg", ".png"}:
        raise UsageError(f"--plot {plot}: a file that ends in .svg or .png.")
    check_target("--plot", plot, "drift.svg")
    with needs_extra("train"):
        import flowercli.reporting.drift_plot  # noqa: F401
