"""The application: every command by name. Command modules import what they run only when they run it."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, NamedTuple

import typer

from flowercli import __version__
from flowercli.cli.help_quickly import OPTIONS

ANSWER, DATA, MODEL, SERVE = "Answer", "Data and weights", "Make a model", "Serve and watch"


class Command(NamedTuple):
    """Where a command is: a function, or a group of commands, in a module of this package; and its part of the help."""

    module: str
    attribute: str
    panel: str


COMMANDS = {
    "classify": Command("classify", "classify", ANSWER),
    "models": Command("models", "models", ANSWER),
    "doctor": Command("doctor", "doctor", ANSWER),
    "download": Command("download", "download", DATA),
    "data": Command("data", "data", DATA),
    "publish": Command("publish", "publish", DATA),
    "split": Command("split", "split", MODEL),
    "merge": Command("merge", "merge", MODEL),
    "train": Command("train", "train", MODEL),
    "track": Command("track", "track", MODEL),
    "average": Command("average", "average", MODEL),
    "eval": Command("eval", "evaluate", MODEL),
    "export": Command("export", "export", MODEL),
    "serve": Command("serve", "serve", SERVE),
    "serve-mlflow": Command("serve_mlflow", "serve_mlflow", SERVE),
    "reference": Command("reference", "reference", SERVE),
    "drift": Command("drift", "drift", SERVE),
}


def build(only: str | None = None) -> typer.Typer:
    """Return the application.

    Args:
        only: the one command that will be run, where that is known: leaving the others out saves a twelfth of the
            time in which one picture is answered from cold. With anything but a command's name, all are there.
    """
    app = typer.Typer(
        name="flowers",
        help="Tell which flower is in a photograph, and train, evaluate and export the model that does it.",
        no_args_is_help=True,
        # A user's mistake is told by flowercli.cli.main; a defect of ours keeps the plain traceback.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": list(OPTIONS)},
    )
    app.callback()(options)
    for name in [only] if only in COMMANDS else COMMANDS:
        _add(app, name, COMMANDS[name])
    return app


def _add(app: typer.Typer, name: str, command: Command) -> None:
    found = getattr(import_module(f"flowercli.cli.{command.module}"), command.attribute)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name, rich_help_panel=command.panel)
    else:
        app.command(name, rich_help_panel=command.panel)(found)


def _print_version(value: bool) -> None:  # noqa: FBT001  (the signature that Typer calls)
    if value:
        typer.echo(f"flowers {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tell which flower is in a photograph, and train, evaluate and export the model that does it."""
