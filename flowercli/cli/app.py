"""The application: every command by name. Command modules import what they run only when they run it."""

from __future__ import annotations

from typing import Annotated

import typer

from flowercli import __version__
from flowercli.cli.average import average
from flowercli.cli.classify import classify
from flowercli.cli.data import data
from flowercli.cli.doctor import doctor
from flowercli.cli.download import download
from flowercli.cli.drift import drift
from flowercli.cli.eval import evaluate
from flowercli.cli.export import export
from flowercli.cli.merge import merge
from flowercli.cli.models import models
from flowercli.cli.publish import publish
from flowercli.cli.reference import reference
from flowercli.cli.serve import serve
from flowercli.cli.serve_mlflow import serve_mlflow
from flowercli.cli.split import split
from flowercli.cli.track import track
from flowercli.cli.train import train

app = typer.Typer(
    name="flowers",
    help="Tell which flower is in a photograph, and train, evaluate and export the model that does it.",
    no_args_is_help=True,
    # A user's mistake is told by flowercli.cli.main; a defect of ours keeps the plain traceback.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:  # noqa: FBT001  (the signature that Typer calls)
    if value:
        typer.echo(f"flowers {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tell which flower is in a photograph, and train, evaluate and export the model that does it."""


ANSWER, DATA, MODEL, SERVE = "Answer", "Data and weights", "Make a model", "Serve and watch"

app.command("classify", rich_help_panel=ANSWER)(classify)
app.command("models", rich_help_panel=ANSWER)(models)
app.command("doctor", rich_help_panel=ANSWER)(doctor)
app.add_typer(download, name="download", rich_help_panel=DATA)
app.add_typer(data, name="data", rich_help_panel=DATA)
app.command("publish", rich_help_panel=DATA)(publish)
app.command("split", rich_help_panel=MODEL)(split)
app.command("merge", rich_help_panel=MODEL)(merge)
app.command("train", rich_help_panel=MODEL)(train)
app.command("track", rich_help_panel=MODEL)(track)
app.command("average", rich_help_panel=MODEL)(average)
app.command("eval", rich_help_panel=MODEL)(evaluate)
app.command("export", rich_help_panel=MODEL)(export)
app.command("serve", rich_help_panel=SERVE)(serve)
app.command("serve-mlflow", rich_help_panel=SERVE)(serve_mlflow)
app.command("reference", rich_help_panel=SERVE)(reference)
app.command("drift", rich_help_panel=SERVE)(drift)
