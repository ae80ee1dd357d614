"""Where the tool keeps what belongs to the user rather than to a project."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_home() -> Path:
    """Return the user's data directory: ``FLOWERS_HOME``, or the platform's usual place."""
    override = os.environ.get("FLOWERS_HOME")
    return Path(override) if override else Path(platformdirs.user_data_dir("flowers", appauthor=False))
