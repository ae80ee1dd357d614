"""Benchmarks run for minutes, so no test runs them; what they take of the package is there, at least."""

from __future__ import annotations

import ast
import importlib
from importlib.util import find_spec

import pytest
from conftest import ROOT

BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda script: script.stem)
def test_what_a_benchmark_imports_is_there(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imports = [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    for each in imports:
        if each.module is None or not each.module.startswith("flowercli"):
            continue
        try:
            module = importlib.import_module(each.module)
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.startswith("flowercli"):
                raise
            pytest.skip(f"needs {error.name}")
        for name in each.names:
            is_there = hasattr(module, name.name) or find_spec(f"{each.module}.{name.name}") is not None
            assert is_there, f"{each.module} has no {name.name}"


def test_there_are_benchmarks():
    assert len(BENCHMARKS) > 30
