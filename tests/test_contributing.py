"""What the map of the project points at is there."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

PATHS = re.findall(
    r"`((?:flowercli|configs|docs|tests)/[^`\s]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
)
# A name in capitals or of a class, and the file that it is said to be in.
NAMES = re.findall(r"`([A-Z]\w+)` in `([^`\s]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_what_the_map_names_is_there(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("name", "path"), NAMES)
def test_the_tables_are_where_the_map_says(name, path):
    assert re.search(rf"^(class )?{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
