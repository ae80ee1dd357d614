"""The application, of as many commands as a run needs. Command modules import what they run only when they run it."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Annotated

import typer

from flowercli import __version__
from flowercli.cli.commands import ABOUT, COMMANDS, HELP, VERSION, Command
from flowercli.cli.examples import in_help


def build(first: str | None = None) -> typer.Typer:
    """Return the application.

    Args:
        first: the first argument, where that is known. With a command's name, the others are left out, which saves a
            twelfth of the time in which one picture is answered from cold. With an option that says something of
            the program and ends it, the commands are there by their summaries only, which saves a third of the time of
            the help. With anything else, all are there.
    """
    app = typer.Typer(
        name="flowers",
        help="Tell which flower is in a photograph, and train, evaluate and export the model that does it.",
        no_args_is_help=True,
        # A user's mistake is told by flowercli.cli.main; a defect of ours keeps the plain traceback.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": list(HELP)},
    )
    app.callback()(options)
    add = _list if first in ABOUT else _add
    for name in [first] if first in COMMANDS else COMMANDS:
        add(app, name, COMMANDS[name])
    if add is _add:
        _complete(app)
    return app


def _add(app: typer.Typer, name: str, command: Command) -> None:
    module = name.replace("-", "_")
    found = getattr(import_module(f"flowercli.cli.{module}"), command.function or module)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name, rich_help_panel=command.panel)
    else:
        app.command(name, rich_help_panel=command.panel)(found)


def _complete(group: typer.Typer, *words: str) -> None:
    """Give every help its examples, and paragraphs that break where the terminal does."""
    for command in group.registered_commands:
        text = inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
        command.epilog = in_help(*words, str(command.name))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        inner.epilog = in_help(*words, str(inner.name))
        _complete(inner.typer_instance, *words, str(inner.name))


def _list(app: typer.Typer, name: str, command: Command) -> None:
    app.command(name, help=command.summary, rich_help_panel=command.panel)(_only_listed)


def _only_listed() -> None:
    """Stand for a command that is not run."""


def _print_version(value: bool) -> None:  # noqa: FBT001  (the signature that Typer calls)
    if value:
        typer.echo(f"flowers {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option(VERSION, callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tell which flower is in a photograph, and train, evaluate and export the model that does it."""
