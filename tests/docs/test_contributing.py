"""What the map of the project points at is there, and what its pages link to."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

from flowercli.cli.commands import COMMANDS

PATHS = re.findall(
    r"`((?:flowercli|configs|docs|tests)/[^`\s]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
)
PAGES = sorted(
    page.relative_to(ROOT) for folder in (".", "docs", "benchmarks") for page in (ROOT / folder).glob("*.md")
)
DECISIONS = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("\n## Decisions\n")[2]
# A name in capitals or of a class, and the file that it is said to be in.
NAMES = re.findall(r"`([A-Z]\w+)` in `([^`\s]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_what_the_map_names_is_there(path):
    assert (ROOT / path).exists()


def test_each_decision_names_files_that_are_there():
    told = [part for part in DECISIONS.split("\n\n") if part.startswith("**")]
    for decision in told:
        named = re.findall(r"`((?:\w+/)*\w+\.\w+)`", decision)
        assert [path for path in named if (ROOT / "flowercli" / path).exists() or (ROOT / path).exists()], decision
    paths = re.findall(r"`((?:\w+/)+\w+\.(?:py|js))`", DECISIONS)
    assert len(told) > 50
    assert [path for path in paths if not ((ROOT / "flowercli" / path).exists() or (ROOT / path).exists())] == []


@pytest.mark.parametrize(("name", "path"), NAMES)
def test_the_tables_are_where_the_map_says(name, path):
    assert re.search(rf"^(class )?{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def anchors(page):
    """Return the anchors that GitHub and Sphinx give to a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_the_pages_link_to_is_there(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for address in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = address.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), address
        assert not anchor or anchor in anchors(target), address


def test_the_readme_has_every_command():
    told = re.findall(r"`flowers ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert set(told) >= set(COMMANDS)
