"""``flowers track``: send the record of a run that its tracking server has missed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.output import note, warn
from flowercli.errors import needs_extra


def track(
    records: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that flowers train named at its end.")],
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow's tracking URI; the one of the run by default.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send the record of a run that its tracking server has missed.

    Nothing is recorded twice. When the server has all of it, the folder is removed.
    """
    with needs_extra("train"):
        from flowercli.tracking.listener import send_spool

        uri, problems = send_spool(records, tracking_uri)
    for problem in problems:
        warn(problem)
    note(f"All of it is recorded in {uri}.")
