"""``flowers doctor``: what runs here and why, what does not, and what to type about it."""

from __future__ import annotations

from typing import Annotated

import typer

from flowercli.cli.output import print_json
from flowercli.errors import EXIT_FAILED, EXIT_OK


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
    no_benchmark: Annotated[
        bool, typer.Option("--no-benchmark", help="Leave the two seconds of measuring out.")
    ] = False,
) -> None:
    """Say what runs here and why not something better, what is wrong, and what to type.

    The exit code is 0 only if a generated picture could be classified.
    """
    from flowercli.cli.doctor_report import print_section, print_verdict
    from flowercli.doctor.diagnosis import Diagnosis, sections

    found = []
    for section in sections(measure=not no_benchmark):
        found.append(section)
        if not json_output:
            print_section(section)
    diagnosis = Diagnosis(found)
    if json_output:
        print_json(diagnosis.as_dict())
    else:
        print_verdict(diagnosis)
    raise typer.Exit(EXIT_OK if diagnosis.works else EXIT_FAILED)
