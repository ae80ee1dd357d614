"""Typer's help in three quarters of the time: without what rich would load for it and it never uses."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType

# typer.rich_utils imports a class from each of them. Its help makes a Markdown only where an application asks for
# that markup, its tracebacks only where one leaves them on: this one does neither.
UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}


def prepare_help() -> None:
    """Load what Typer shows help with. Whoever imports the modules left out later on, gets them whole."""
    absent = [name for name in UNUSED if name not in sys.modules]
    for name in absent:
        sys.modules[name] = _stand_in(name, UNUSED[name])
    # A Typer that wants more from them imports them itself when it shows the help.
    with suppress(ImportError):
        import_module("typer.rich_utils")
    for name in absent:
        del sys.modules[name]


def _stand_in(name: str, class_name: str) -> ModuleType:
    module = ModuleType(name)
    setattr(module, class_name, type(class_name, (), {}))
    return module
