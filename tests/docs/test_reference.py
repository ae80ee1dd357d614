"""The page of exit codes, variables and error codes has what the program has, and nothing else."""

from __future__ import annotations

import ast
import re

import pytest
from conftest import ROOT

from flowercli import errors
from flowercli.cli.output import JSON_VERSION

PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
SOURCES = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "flowercli").rglob("*.py"))}
# How a variable is read or set, and how its name is kept in a constant.
VARIABLES = re.compile(r'environ(?:\.\w+\(|\[)\s*"([A-Z_]+)"|\b\w*VARIABLE\b = "([A-Z_]+)"|envvar="([A-Z_]+)"')
# Pictures that lie in a file system or at an address never come to a service.
NOT_SENT = {"not_found", "not_a_file", "not_permitted", "download_failed"}


def section_text(title):
    """Return a section of the page."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def section(title):
    """Return a section's table as a dictionary from its first column to the names in its second."""
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section_text(title), re.MULTILINE)
    return {first: set(re.findall(r"`([A-Za-z_]\w+)`", second)) for first, second in rows}


def calls(name, *, below=""):
    """Return the calls of a function or class in the package, or in a folder of it."""
    for path, text in SOURCES.items():
        if path.is_relative_to(ROOT / "flowercli" / below):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                    yield [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]


def picture_codes():
    from flowercli.inference.heif import NEEDS_HEIF

    return {code for code, *_ in calls("ImageError") if code} | {NEEDS_HEIF}


def service_errors():
    """Return the pairs of status and code that the service is made to answer."""
    pytest.importorskip("fastapi", reason="needs the extra 'http'")
    from flowercli.serving.http.app import CODES

    made = {tuple(call[:2]) for name in ("Problem", "busy") for call in calls(name, below="serving")}
    of_pictures = {(413 if code == "too_large" else 422, code) for code in picture_codes() - NOT_SENT}
    return {(status, code) for status, code in made if status and code} | set(CODES.items()) | of_pictures


def test_exit_codes_are_those_of_the_program():
    told = {first for first in section("Exit codes") if first.isdecimal()}
    assert told == {str(code) for name, code in vars(errors).items() if name.startswith("EXIT_")}


def test_json_begins_with_the_version_that_the_page_tells(run):
    told = f'"version": {JSON_VERSION}'
    assert told in section_text("What `--json` prints")
    for command in (["models"], ["models", "flowers5"], ["download", "--list"]):
        assert run(*command, "--json").out.startswith(f"{{{told}, ")


def test_every_variable_is_told():
    read = {name for text in SOURCES.values() for found in VARIABLES.findall(text) for name in found if name}
    told = set(re.findall(r"`([A-Z_]+)(?:=\w+)?`", section_text("Environment variables")))
    named = {name for text in SOURCES.values() for name in re.findall(r"\b_?FLOWERS_[A-Z_]+\b", text)}
    assert len(read) > len(named)
    assert read | named <= told
    assert {name for name in told if "FLOWERS_" in name} == named


def test_every_code_of_a_picture_is_told():
    assert set(re.findall(r"`(\w+)`", " ".join(section("Codes of pictures")))) - {"code"} == picture_codes()


def test_every_error_of_the_service_is_told():
    told = section("Error codes of `flowers serve`")
    pairs = {(int(status), code) for status, codes in told.items() if status.isdecimal() for code in codes}
    assert pairs == service_errors()


def test_every_error_of_mlflows_gate_is_told():
    pytest.importorskip("mlflow", reason="needs the extra 'serve'")
    from flowercli.serving.mlflow.gate import ERROR_CODES

    told = section("Error codes of `flowers serve-mlflow`")
    assert {first: codes for first, codes in told.items() if first.isdecimal()} == {
        str(status): {code} for status, code in ERROR_CODES.items()
    }
