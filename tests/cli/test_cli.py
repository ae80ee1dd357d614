"""The program as a whole: help, usage mistakes, exit codes, and the documentation of it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import typer.rich_utils
from conftest import FLOWERS, ROOT, SAMPLES, command, flowers, in_terminal

from flowercli import __version__
from flowercli.cli.app import build
from flowercli.cli.examples import EXAMPLES
from flowercli.cli.options import DEFAULT_MODEL
from flowercli.installation import add_extra
from flowercli.models import DEFAULT, MODEL_VARIABLE
from flowercli.serving.page import runtime

COMMANDS = (
    "answers",
    "average",
    "classify",
    "data",
    "doctor",
    "download",
    "drift",
    "eval",
    "export",
    "merge",
    "pack",
    "models",
    "publish",
    "reference",
    "seen",
    "serve",
    "serve-mlflow",
    "split",
    "tag",
    "teach",
    "track",
    "train",
    "undo",
)


def test_help_lists_every_command(run):
    result = run("--help")
    assert result.code == 0
    for name in COMMANDS:
        assert name in result.out
        assert run(name, "--help").code == 0
        assert run(name, "-h").code == 0


def test_version(run):
    assert run("--version").out == f"flowers {__version__}\n"


def test_the_summary_of_a_command_is_the_first_sentence_of_its_help():
    whole = typer.main.get_command(build()).commands
    listed = typer.main.get_command(build("--help")).commands
    assert set(listed) == set(whole) == set(COMMANDS)
    for name, real in whole.items():
        assert listed[name].help == " ".join(real.help.split("\n\n")[0].split())


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--help",), 0), (("-h",), 0), (("--version",), 0)])
def test_what_is_said_of_the_program_loads_no_command(arguments, code):
    script = (
        f"import sys; from flowercli.cli.main import main; assert main({list(arguments)}) == {code}\n"
        "print([name for name in sys.modules if name in ('flowercli.cli.classify', 'flowercli.cli.train')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert ("drift" in done.stdout + done.stderr) == (arguments != ("--version",))


def test_a_shell_completes_commands_and_their_options():
    def completed(words: str) -> list[str]:
        shell = {"_FLOWERS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            command(), capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **shell}
        )
        return done.stdout.split()

    assert completed("flowers cl") == ["classify"]
    assert completed("flowers classify --top") == ["--top-k"]


@pytest.mark.parametrize(
    "arguments", [("clasify",), ("classify",), ("classify", "--jsn", "x"), ("classify", "x", "-k", "two"), ("split",)]
)
def test_usage_mistakes_exit_2(run, arguments):
    result = run(*arguments)
    assert result.code == 2
    assert result.err
    assert "Traceback" not in result.err


def test_a_command_loads_no_other_and_a_typo_knows_them_all(run):
    assert "'classify'" in run("clasify", "x").err
    script = (
        "import sys; from flowercli.cli.main import main; main(['models', '--json'])\n"
        "print(sorted(name for name in sys.modules if name in ('flowercli.cli.train', 'flowercli.cli.serve')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_answering_leaves_no_thread_of_numpy_behind_and_collects_garbage():
    script = (
        "import gc, os, sys, time; from flowercli.cli.main import main; main(sys.argv[1:]); assert gc.isenabled()\n"
        "deadline = time.monotonic() + 10\n"
        "while (threads := len(os.listdir('/proc/self/task'))) > 1 and time.monotonic() < deadline: time.sleep(0.05)\n"
        "sys.exit(threads)"
    )
    answer = [sys.executable, "-c", script, "classify", str(SAMPLES / "rose.jpg")]
    inherited = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    assert subprocess.run(answer, env=inherited, check=False, timeout=60).returncode == 1
    asked = subprocess.run(answer, env={**inherited, "OPENBLAS_NUM_THREADS": "2"}, check=False, timeout=60)
    assert asked.returncode == min(2, os.cpu_count())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("models", "--json")])
def test_what_cannot_be_written_is_told(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="the extra 'train' is installed")
@pytest.mark.parametrize("arguments", [("train",), ("eval", "flowers5", "--find-label-errors")])
def test_missing_extra_is_named(run, arguments):
    result = run(*arguments)
    assert (result.code, result.out) == (4, "")
    assert add_extra("train") in result.err


def test_defects_keep_their_traceback():
    script = (
        "import sys, flowercli.models as m; m.load_model = lambda name: 1 / 0\n"
        "from flowercli.cli.main import main; sys.exit(main(['classify', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_debug_variable_shows_the_traceback():
    done = subprocess.run(
        command("split", "nowhere"), capture_output=True, text=True, check=False, timeout=60,
        env={"FLOWERS_DEBUG": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Traceback" in done.stderr
    assert "DataError" in done.stderr


def test_help_is_that_of_typer_without_what_it_never_uses():
    plainly = "from flowercli.cli.app import build; build('--help')(args=['--help'], prog_name='flowers')"
    ours = (
        "import sys; from flowercli.cli.main import main; main(['--help']); assert 'rich.markdown' not in sys.modules"
    )
    later = "; from rich.markdown import Markdown; assert Markdown('a').markup == 'a'; import rich.traceback"
    plain, quick = (
        subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
        for script in (plainly, ours + later)
    )
    assert quick.stdout == plain.stdout
    assert "classify" in quick.stdout


def test_the_readme_shows_what_the_program_prints():
    readme = (ROOT / "README.md").read_text()
    session = re.search(r"^\$ flowers classify docs/samples/\*\.jpg\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert session is not None
    pictures = [f"docs/samples/{name}.jpg" for name in FLOWERS]
    shown = in_terminal(["classify", *pictures]).out
    assert [line.rstrip() for line in shown.splitlines()] == session.group(1).rstrip("\n").splitlines()


@pytest.mark.parametrize("page", ["serve", "serve-mlflow", "triton"])
def test_pages_show_what_the_shipped_model_answers(page):
    answer = json.loads(flowers("classify", SAMPLES / "rose.jpg", "--json").out)["all_predictions"]
    text = (ROOT / "docs" / f"{page}.md").read_text()
    said = re.findall(r'"(\w+)": (\d\S*?)[,}\s]', text) + [
        (name, p) for p, name in re.findall(r"'([\d.]+):\d+:(\w+)'", text)
    ]
    shown = [(name, float(share)) for name, share in said if name in answer]
    assert len(shown) >= 2
    # Other processors may round otherwise.
    assert all(share == pytest.approx(answer[name], rel=0.05, abs=2e-6) for name, share in shown)


def test_wheel_holds_configs_and_model(tmp_path):
    pytest.importorskip("hatchling")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wheel = next(tmp_path.glob("*.whl"))
    assert wheel.stat().st_size <= 16_000_000
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    assert "flowercli/configs/train.yaml" in names
    assert "flowercli/configs/data/folder.yaml" in names
    assert "flowercli/data/scan.py" in names
    assert "flowercli/data/dvc/template/dvc.yaml" in names
    for model in ("flowers5", "garden"):
        assert f"flowercli/models/{model}/model.int8.onnx" in names
    assert "flowercli/serving/page/site/index.html" in names
    # Where there is npm: git ignores what it brings.
    assert runtime.is_there() == (f"flowercli/serving/page/vendor/{runtime.PACKED_WASM}" in names)
    assert not any(name.startswith(("tests", "docs")) for name in names)


def test_models_lists_what_ships(run):
    listed = json.loads(run("models", "--json").out)["models"]
    default = next(entry for entry in listed if entry["default"])
    assert default["name"] == "garden"
    assert listed[0]["class_names"] == ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    assert [len(entry["class_names"]) for entry in listed] == [5, 106]
    assert default["accuracy"]["split"] == "test"
    for entry in listed:
        assert run("classify", SAMPLES / "rose.jpg", "--model", entry["name"]).code == 0
        assert entry["name"] in run("models").out


def every_command(group, *words):
    """Yield each command with its words, those of groups included."""
    for name, inner in getattr(group, "commands", {}).items():
        yield (*words, name), inner
        yield from every_command(inner, *words, name)


def test_every_help_ends_in_examples_that_the_program_reads():
    commands = dict(every_command(typer.main.get_command(build())))
    assert set(EXAMPLES) == set(commands)
    for lines in EXAMPLES.values():
        for line in lines:
            assert len(line) <= 78  # A terminal of 80 columns shows it on one line.
            words = shlex.split(line.rpartition("| ")[2].partition("flowers ")[2])
            path = next(words[:count] for count in (2, 1) if tuple(words[:count]) in commands)
            options = {name for parameter in commands[tuple(path)].params for name in parameter.opts}
            assert {word for word in words if word.startswith("-") and word != "-"} <= options, line


def test_no_paragraph_of_a_help_is_broken_in_mid_sentence():
    for found in dict(every_command(typer.main.get_command(build()))).values():
        assert all("\n" not in paragraph for paragraph in (found.help or "").split("\n\n"))


def words_of_help(run, monkeypatch, words, columns):
    """Return what a help says, without the lines around it."""
    monkeypatch.setattr(typer.rich_utils, "MAX_WIDTH", columns)
    return set(re.sub(r"[│─╭╮╰╯]", " ", run(*words, "--help").out).split())


def test_no_word_of_a_help_is_cut(run, monkeypatch):
    for words in dict(every_command(typer.main.get_command(build()))):
        whole = words_of_help(run, monkeypatch, words, 300)
        for columns in (80, 100):
            assert words_of_help(run, monkeypatch, words, columns) == whole, words


def test_every_default_is_shown():
    assert f"{DEFAULT}, or what {MODEL_VARIABLE} says" == DEFAULT_MODEL
    for words, found in every_command(typer.main.get_command(build())):
        for parameter in found.params:
            hidden = parameter.show_default in {False, None} and parameter.default not in {None, False, ()}
            assert not hidden, (words, parameter.name)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("flowers classify --model g", ["garden"]),
        ("flowers classify --only rose,tu", ["rose,tulip"]),
        ("flowers serve --device c", ["cuda", "cpu"]),
        ("flowers eval x --split va", ["val"]),
    ],
)
def test_values_are_completed(typed, expected):
    asked = {"_FLOWERS_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run(
        command(), env={**os.environ, **asked}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split() == expected
