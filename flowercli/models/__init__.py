"""The models that have a name: those that ship inside the package, and those that were downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from flowercli.bundle import Bundle
from flowercli.errors import BundleError
from flowercli.hub.repo_id import RepoId
from flowercli.installed import Installed, find, installed

DEFAULT = "garden"
MODEL_VARIABLE = "FLOWERS_MODEL"
FOLDER = Path(__file__).parent


def shipped_names() -> list[str]:
    """Return the names of the shipped bundles."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


def default_name() -> str:
    """Return the name or path of the model that answers where none is asked for: FLOWERS_MODEL's, if it says one."""
    return os.environ.get(MODEL_VARIABLE, "").strip() or DEFAULT


def downloaded() -> list[Installed]:
    """Return the bundles in the user's data directory."""
    return installed("model")


def load_model(name: str | None) -> Bundle:
    """Load a bundle by the name of a shipped or downloaded one, or by path; the default one for ``None``.

    A name wins over a folder of the same name, which ``./name`` still reaches.

    Raises:
        BundleError: there is none, or it cannot be read.
    """
    if name is None and default_name() != DEFAULT:
        return _of_environment(default_name())
    name = DEFAULT if name is None else name
    if name in shipped_names():
        return Bundle.load(FOLDER / name)
    reference = RepoId.maybe(name)
    if reference is None:
        _check_spelling(name)
        return Bundle.load(Path(name))
    entry = find("model", reference.repo_id)
    if entry is not None and reference.revision in (None, entry.revision):
        return Bundle.load(entry.path)
    if Path(name).exists():
        return Bundle.load(Path(name))
    raise _not_downloaded(reference, entry)


def _check_spelling(name: str) -> None:
    if not Path(name).exists():
        from difflib import get_close_matches

        near = get_close_matches(name, shipped_names(), 1)
        if near:
            message = f"There is no model '{name}'. The nearest: {near[0]}."
            raise BundleError(message, hint="flowers models   (lists those that there are)")


def _of_environment(name: str) -> Bundle:
    try:
        return load_model(name)
    except BundleError as error:
        raise BundleError(f"{MODEL_VARIABLE} says '{name}'. {error.message}", hint=error.hint) from error


def _not_downloaded(reference: RepoId, entry: Installed | None) -> BundleError:
    message = f"There is no model bundle at {reference}, and none of that name was downloaded."
    if entry is not None:
        message = f"Of {entry.name} the commit {entry.revision} was downloaded, not {reference.revision}."
    return BundleError(message, hint=f"From the Hub: flowers download model {reference}")
