"""What fuzzing starts from, and what it found once, through every target; ``nox -s fuzz`` does the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("python_multipart", reason="needs the extra 'serve'")
pytest.importorskip("pyarrow", reason="needs the extra 'train'")
sys.path.insert(0, str(Path(__file__).parent / "fuzz"))

from targets import TARGETS, corpus


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_does_more_than_it_may(name):
    inputs = list(corpus(name))
    assert inputs
    for data in inputs:
        TARGETS[name].run(data)
        for end in range(0, len(data), max(1, len(data) // 20)):
            TARGETS[name].run(data[:end])
            TARGETS[name].run(data[:end] + bytes([data[end] ^ 0xFF]) + data[end + 1 :])
