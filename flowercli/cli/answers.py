"""``flowers answers``: whether every photograph that was planned is answered, and what the answers are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.options import Format
from flowercli.cli.output import print_json
from flowercli.errors import EXIT_FAILED, BatchError, UsageError, needs_extra
from flowercli.shown import in_shell


def answers(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="The folder or address that `flowers classify --out` was given.")
    ],
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            show_default="only whether all are there",
            help="Read the answers out, in the order of the plan: tsv, csv, json or parquet; table counts the flowers.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the answers there; the ending says the format."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Prove that every photograph of a plan has its answer, once, and read the answers out.

    Plan and answers are compared path by path. If some are missing or double, the exit code is 1.
    """
    from flowercli.cli.classify_output import Output
    from flowercli.cli.progress import advancing

    with needs_extra("batch"):
        from flowercli.batch.places import Place
        from flowercli.batch.plan import Plan
        from flowercli.batch.proof import prove
        from flowercli.cli.answers_report import read_out, show, warn_of
    if json_output and (form is not None or output is not None):
        raise UsageError("--json prints what was found, not the answers.", hint="For answers as JSON: --format json")
    reads = None if form is None and output is None else Output.choose(form, None, output, json=False)
    plan = Plan(Place.at(place))
    settings = plan.settings()
    if settings is None:
        hint = f"flowers classify PHOTOGRAPHS --out {in_shell(place)}"
        raise BatchError(f"There is no plan at {place}.", hint=hint)
    with advancing() as advance:
        proof = prove(plan, settings, advance)
    if json_output:
        print_json(proof.as_dict())
    elif reads is None:
        show(proof, settings)
    else:
        read_out(plan, proof, settings, reads)
    if not proof.holds:
        warn_of(proof, settings, place)
        raise typer.Exit(EXIT_FAILED)
