"""Where the tool keeps what belongs to the user rather than to a project."""

from __future__ import annotations

import os
from pathlib import Path

from flowercli.errors import DataError

# Below what is no folder nothing can be made, not even by root.
NO_HOME = os.devnull


class NoHomeError(DataError):
    """The user has no home folder, and nothing says where to keep what is downloaded."""


def settle_home() -> None:
    """Give a process whose user has no home one that is never there: libraries end the program where there is none."""
    if os.name == "posix" and not os.path.isabs(os.path.expanduser("~")):  # noqa: PTH111, PTH117  (that raises)
        os.environ["HOME"] = NO_HOME


def data_home() -> Path:
    """Return the user's data directory: ``FLOWERS_HOME``, or the platform's usual place.

    Raises:
        NoHomeError: there is no such place.
    """
    if override := os.environ.get("FLOWERS_HOME"):
        return Path(override)
    import platformdirs

    try:
        usual = Path(platformdirs.user_data_dir("flowers", appauthor=False))
    except RuntimeError:
        usual = Path(NO_HOME)
    if not usual.is_absolute() or usual.is_relative_to(NO_HOME):
        message = "This user has no home folder to keep datasets and models in."
        raise NoHomeError(message, hint="Say where to keep them: export FLOWERS_HOME=FOLDER")
    return usual
