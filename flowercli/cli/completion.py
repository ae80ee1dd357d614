"""What a shell completes values with, where it was asked to (``flowers --install-completion``)."""

from __future__ import annotations

from contextlib import suppress

from flowercli.errors import FlowersError

DEVICES = ("auto", "tensorrt", "cuda", "cpu")


def devices(incomplete: str) -> list[str]:
    """Return the devices that a model can be asked for on."""
    return [name for name in DEVICES if name.startswith(incomplete)]


def splits(incomplete: str) -> list[str]:
    """Return the parts of a split."""
    from flowercli.data.split import SPLITS

    return [name for name in SPLITS if name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Return the names of the models that ship and of those that were downloaded; paths the shell completes itself."""
    from flowercli.models import downloaded, shipped_names

    names = shipped_names()
    with suppress(FlowersError, OSError):
        names += [entry.name for entry in downloaded()]
    return [name for name in names if name.startswith(incomplete)]


def flowers(incomplete: str) -> list[str]:
    """Return lists of flowers of the default model, the last of which is completed: ``rose,tu`` to ``rose,tulip``."""
    from flowercli.models import load_model

    before, comma, last = incomplete.rpartition(",")
    named: list[str] = before.split(",")
    known: list[str] = []
    with suppress(FlowersError, OSError):
        known = load_model(None).class_names
    return [f"{before}{comma}{name}" for name in known if name.startswith(last) and name not in named]
