"""Text from outside, wherever it is shown: terminal, pipe, JSON, model card; and streams that are closed or full."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys

import pytest
from conftest import SAMPLES, command
from hypothesis import given
from hypothesis import strategies as st

from flowercli.shown import UNSAFE, in_markdown, json_line, lines, one_line

ODD = "a\x1b[31mred\x9b31m\u202edrow\u2028next\rover\x07"


@given(st.text())
def test_nothing_unseen_is_left(text):
    shown = one_line(text)
    assert not UNSAFE.search(shown)
    assert "\n" not in shown
    assert lines(text).count("\n") == text.count("\n")


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_says_what_it_said(value):
    for ascii_only in (True, False):
        document = json_line(json.dumps(value, ensure_ascii=ascii_only))
        assert json.loads(document) == value


def test_what_is_seen_stays():
    for text in ("Rosa × alba, 41 %", "バラ", "👩\u200d🌾", "می\u200cخواهم", "naïve.jpg", "a\\b"):
        assert one_line(text) == text
    assert one_line(ODD) == r"a\x1b[31mred\x9b31m\u202edrow\u2028next\rover\x07"


def test_a_card_has_no_markup_of_others():
    odd = {"<img src=x>": ["a|b", "[x](y)", "`c`\n# d", 1.5, None]}
    assert in_markdown(odd) == {"&lt;img src=x&gt;": [r"a\|b", r"\[x\](y)", "\\`c\\`\\\\n# d", 1.5, None]}


def seen_on_a_terminal(*arguments: object) -> bytes:
    """Run ``flowers`` with a terminal for stdout and stderr and return what it wrote there."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(command(*arguments), stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL)
    os.close(terminal)
    written = b""
    try:
        while chunk := os.read(controller, 65536):
            written += chunk
    except OSError:  # Linux says so where the other end is closed.
        pass
    os.close(controller)
    process.wait(60)
    return written


@pytest.mark.skipif(sys.platform == "win32", reason="has other terminals, and no such file names")
def test_a_file_name_cannot_steer_a_terminal(tmp_path):
    picture = tmp_path / f"{ODD}.jpg"
    shutil.copy(SAMPLES / "rose.jpg", picture)
    missing = tmp_path / f"{ODD}.onnx"
    for arguments in ((picture,), (picture, "--json"), ("--model", missing, picture), (f"{picture}-not-there",)):
        written = seen_on_a_terminal("classify", *arguments)
        assert b"\x1b[31mred" not in written
        for unseen in ("\x9b", "\u202e", "\u2028", "\x07"):
            assert unseen.encode() not in written


def shell(line: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``flowers`` from a shell, as ``"$@"`` in this line."""
    words = ["sh", "-c", line, "sh", *map(str, command(*arguments))]
    return subprocess.run(words, capture_output=True, timeout=120, check=False, env={**os.environ, **environment})


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's redirections")
@pytest.mark.parametrize(
    "line", ['"$@" 2>&-', '"$@" <&- 2>&-', '"$@" 2>/dev/full', '"$@" 2>&1 >&3 3>&- | head -c 0'], ids=str
)
def test_answers_need_no_stderr(line, tmp_path):
    answers = tmp_path / "answers"
    missing = tmp_path / "missing.jpg"
    shell(f"exec 3>{answers}; {line.replace('3>&-', '')} >&3", "classify", "--json", missing, SAMPLES / "rose.jpg")
    assert [json.loads(text).get("predicted_class") for text in answers.read_text().splitlines()] == [None, "rose"]


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's redirections")
def test_answers_need_nobody_to_read_stderr(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with (tmp_path / "answers").open("wb") as answers:
        line = command("classify", "--json", "--verbose", tmp_path / "missing.jpg", SAMPLES / "rose.jpg")
        done = subprocess.run(line, stdout=answers, stderr=writing, timeout=120, check=False)
    os.close(writing)
    assert done.returncode == 3
    assert len((tmp_path / "answers").read_text().splitlines()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's redirections")
def test_without_stdout_it_says_so_or_ends():
    full = shell('"$@" >/dev/full', "classify", SAMPLES / "rose.jpg")
    assert full.returncode == 1
    assert b"No space left on device" in full.stderr
    assert b"Traceback" not in full.stderr
    assert shell('"$@" >&-', "classify", SAMPLES / "rose.jpg").returncode == 0
    assert shell('"$@" <&-', "classify", "-").returncode == 3


@pytest.mark.skipif(sys.platform == "win32", reason="folders of POSIX")
@pytest.mark.parametrize("home", ["/dev/null/home", "/proc/none", ""])
def test_answers_need_no_home(home):
    for variables in ({"HOME": home}, {"HOME": home, "FLOWERS_HOME": f"{home}/flowers"}):
        done = shell('"$@"', "classify", "--json", SAMPLES / "rose.jpg", XDG_DATA_HOME="", TMPDIR=home, **variables)
        assert (done.returncode, done.stderr) == (0, b"")
        assert shell('"$@"', "models", **variables).returncode == 0
