"""From the names of a dataset's class folders to the names that answers use.

The one place for it: ``flower_photos`` names three of its folders in the plural, answers are
about one flower. A folder that is not listed here keeps its own name.
"""

from __future__ import annotations

SINGULAR = {"roses": "rose", "sunflowers": "sunflower", "tulips": "tulip"}


def class_name(folder: str) -> str:
    """Return the class name that answers use for a class folder."""
    return SINGULAR.get(folder, folder)
