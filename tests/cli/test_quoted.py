"""Paths and names of others in what is to be copied or read by programs: commands, tables, files for DVC."""

from __future__ import annotations

import ast
import csv
import re
import shlex
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, write_dataset

pytest.importorskip("matplotlib", reason="needs the extra 'train'")

from flowercli.bundle import Bundle
from flowercli.cli.output import check_target
from flowercli.data.scan import scan_dataset
from flowercli.errors import FlowersError
from flowercli.models import FOLDER
from flowercli.monitoring.log_file import models_in
from flowercli.monitoring.log_rows import check, create
from flowercli.shown import in_markdown, in_shell

# A program or an option right before something that is put in.
COMMAND = re.compile(r"(?:(?:flowers|dvc|mkdir|mv|cp|rm|mlflow)\b[^.:,]*|--[a-z-]+) $|\s[a-z]+\.[a-z]+=$")
PATHS = frozenset({"path", "folder", "root", "target", "parent", "bundle", "dataset", "records"})
SAME = frozenset({"with_name", "with_stem", "with_suffix", "joinpath", "resolve", "absolute"})


def is_path(node):
    """Whether an expression is a path, by its name, or made of one."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Div) and is_path(node.left)
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", None) in SAME and is_path(node.func.value)
    return getattr(node, "attr", getattr(node, "id", None)) in PATHS


def unquoted(tree):
    """Yield the lines where the text of a command is followed by a path as it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "format" and any(map(is_path, node.args)):
            yield node.lineno
        if not isinstance(node, ast.JoinedStr):
            continue
        for before, put, after in zip(node.values, node.values[1:], [*node.values[2:], None], strict=False):
            if not (isinstance(before, ast.Constant) and isinstance(put, ast.FormattedValue)):
                continue
            if isinstance(after, ast.Constant) and after.value.startswith(":"):  # What is wrong with an option.
                continue
            if COMMAND.search(before.value) and is_path(put.value):
                yield put.lineno


def test_every_path_in_a_command_is_quoted():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "flowercli").rglob("*.py"))
        for line in unquoted(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize("name", ["a b", "it's", "$(reboot)", "a;b", "-x"])
def test_commands_can_be_copied(tmp_path, name):
    folder = tmp_path / name
    with pytest.raises(FlowersError) as caught:
        models_in(folder / "log.db")
    assert caught.value.hint is not None
    assert shlex.split(caught.value.hint)[-1] == str(folder / "log.db")
    with pytest.raises(FlowersError) as caught:
        check_target("--report", folder / "page.html", "x.html")
    assert shlex.split(str(caught.value.hint)) == ["mkdir", "-p", str(folder)]
    with pytest.raises(FlowersError) as caught:
        scan_dataset(write_dataset(folder / "up", photos=2).parent)
    assert shlex.split(str(caught.value.hint))[-1] == str(folder / "up")
    log = folder / "log.db"
    with sqlite3.connect(log) as connection:
        create(connection)
        connection.execute("PRAGMA user_version = 1")
        with pytest.raises(FlowersError) as caught:
            check(connection, log)
    connection.close()
    assert shlex.split(str(caught.value.hint))[-1] == str(folder / "log-new.db")
    assert shlex.split(in_shell(Path(name))) == [name]


def test_weights_of_another_network_are_named_as_one_word(tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from flowercli.training.schema import ModelConfig
    from flowercli.training.weights import from_path

    folder = shutil.copytree(FOLDER / "flowers5", tmp_path / "it's mine")
    rest = {"image_size": None, "crop_pct": None, "drop_rate": 0, "drop_path_rate": 0}
    with pytest.raises(FlowersError) as caught:
        from_path(folder, ModelConfig("resnet18", pretrained=False, weights=str(folder), **rest), 5)
    assert f"model.weights={folder}" in shlex.split(str(caught.value.hint))


def test_a_card_has_no_emphasis_or_formula_of_others():
    assert in_markdown("*a* ~b~ $c$ _d_ e_f") == r"\*a\* \~b\~ \$c\$ \_d\_ e_f"


def test_tables_for_dvc_have_a_line_a_photograph(tmp_path):
    pytest.importorskip("sklearn", reason="needs the extra 'train'")
    from flowercli.evaluation.answers import Answers
    from flowercli.evaluation.evaluate import Evaluation
    from flowercli.reporting.dvc_files import write_dvc_files

    names = ["a\tb\nc", 'd,"e"']
    bundle = Bundle(tmp_path, {"label_names": names, "flowers": {}})
    answers = Answers(["1", "2"], np.array([0, 1]), np.eye(2), np.zeros((2, 1), np.float32), np.ones(2))
    write_dvc_files(tmp_path / "dvc", Evaluation(bundle, "val", {}, {"int8": answers}))
    text = (tmp_path / "dvc" / "confusion.csv").read_text()
    assert len(text.splitlines()) == 3
    assert list(csv.reader(text.splitlines()))[1:] == [[r"a\tb\nc"] * 2, ['d,"e"'] * 2]
