"""Some three hundred odd pictures get the code that is promised for each, at every way into the program."""

from __future__ import annotations

import pytest
from doors import SERVE_DOORS, cli, mlflow, serve, serve_mlflow
from support.odd_inputs import odd_inputs


def broken_promises(codes: dict[str, str]) -> dict[str, tuple[str, str | None]]:
    """Return what was promised and what was said, where that is not the same."""
    return {odd.name: (odd.code, codes.get(odd.name)) for odd in odd_inputs() if codes.get(odd.name) != odd.code}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    with serve(folder) as running:
        yield running
    log = (folder / "serve.log").read_text()
    assert "Traceback" not in log
    assert '"status": 5' not in log


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    with serve_mlflow(folder) as running:
        yield running
    log = (folder / "mlflow.log").read_text()
    assert "Traceback" not in log
    assert " 500 " not in log


def test_there_are_as_many_as_was_said():
    names = [odd.name for odd in odd_inputs()]
    assert len(names) == len(set(names)) >= 160


def test_classify(tmp_path):
    codes = cli(odd_inputs(), tmp_path)
    assert "Traceback" not in (tmp_path / "cli.log").read_text()
    assert broken_promises(codes) == {}


@pytest.mark.parametrize("door", SERVE_DOORS)
def test_serve(server, door):
    assert broken_promises(SERVE_DOORS[door](server, odd_inputs())) == {}


def test_serve_mlflow(mlflow_server):
    assert broken_promises(mlflow(mlflow_server, odd_inputs())) == {}
