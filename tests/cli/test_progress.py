"""What long work shows: on a terminal only, after a second only, and nothing is left of it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress

import pytest
from conftest import COLOURS, ROOT, SAMPLES, default_interrupt, flowers
from support.forked import forked_python

from flowercli.cli.progress import SECONDS

HIDDEN, VISIBLE = b"\x1b[?25l", b"\x1b[?25h"
# The program, with a display that waits so long.
WAITING = "import flowercli.cli.progress as p; p.SECONDS = {}; from flowercli.cli.main import run; run()"


class OnTerminal:
    """The program with its stderr on a terminal, and its stdout elsewhere."""

    def __init__(self, *arguments: object, wait: float = 0) -> None:
        here, there = pty.openpty()
        self._terminal, self.seen = here, b""
        python, *loaded = forked_python()
        how = [*loaded, "-c", WAITING.format(wait)]
        self.process = subprocess.Popen(
            [python, "-W", "error", *how, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=there,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
            preexec_fn=default_interrupt,  # noqa: PLW1509
        )
        os.close(there)

    def wait_for(self, text: bytes, seconds: float = 60) -> None:
        """Read on until the terminal has shown it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.seen += os.read(self._terminal, 65536)

    def end(self) -> tuple[int, str, str]:
        """Return exit code, stdout, and all that the terminal has shown, without colours."""
        reader = threading.Thread(target=self._read)
        reader.start()
        out, _ = self.process.communicate(timeout=120)
        reader.join()
        os.close(self._terminal)
        return self.process.returncode, out.decode(), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen.decode())

    def _read(self) -> None:
        with suppress(OSError):  # On Linux, the end.
            while chunk := os.read(self._terminal, 65536):
                self.seen += chunk

    def cursor_is_there(self) -> bool:
        """Whether it was hidden and is there again."""
        return self.seen.count(HIDDEN) == self.seen.count(VISIBLE) > 0 and self.seen.rfind(VISIBLE) > self.seen.rfind(
            HIDDEN
        )


@pytest.mark.parametrize(
    ("command", "steps"),
    [
        (["eval", "BUNDLE", "--split", "train", "--json"], ["Asking torch", "Asking onnx", "Asking int8"]),
        (["eval", "BUNDLE", "--split", "val", "--against", "BUNDLE", "--json"], ["Asking A, int8", "Asking B, int8"]),
        (["reference", "BUNDLE"], ["Asking about validation photographs"]),
        (["split", "DATA", "--output", "FILE", "--json"], ["Reading photographs", "Looking for near copies"]),
        (["merge", "DATA", "--output", "FILE", "--json"], ["Linking", "Reading photographs"]),
    ],
    ids=lambda value: value[0] if value[0].islower() else None,
)
def test_long_work_shows_itself(own_bundle, dataset, tmp_path, command, steps):
    names = {"BUNDLE": own_bundle, "DATA": dataset, "FILE": tmp_path / "new"}
    shown = OnTerminal(*[names.get(word, word) for word in command])
    code, out, seen = shown.end()
    assert code == 0, seen
    found = [step for step in steps if re.search(rf"{step}[^\r\n]*━+[^\r\n]*/\d+ ", seen)]
    assert found, seen  # What is done between two refreshes is not drawn.
    assert shown.cursor_is_there()
    if "--json" in command:
        json.loads(out)


@pytest.mark.slow
def test_an_export_shows_its_steps(own_bundle):
    shown = OnTerminal("export", own_bundle, "--onnx", "--int8", "--max-drop", "20", "--json")
    code, out, seen = shown.end()
    assert code == 0, seen
    assert len(json.loads(out)["exports"]) == 2
    for step in ("Exporting fp32", "Observing layers", "Rounding weights"):
        assert re.search(rf"{step} ━+", seen), seen
    assert shown.cursor_is_there()


def test_work_of_less_than_a_second_shows_nothing(tmp_path):
    assert SECONDS == 1
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            picture = SAMPLES / f"{('daisy', 'rose')[name == 'b']}.jpg"
            (tmp_path / "data" / name / f"{number}.jpg").write_bytes(picture.read_bytes())
    shown = OnTerminal("split", tmp_path / "data", wait=60)  # A busy machine takes more than a second.
    code, _, seen = shown.end()
    assert code == 0
    assert "Reading" not in seen
    assert HIDDEN not in shown.seen


def test_nothing_is_shown_where_stderr_is_no_terminal(dataset, tmp_path):
    done = flowers("split", dataset, "--output", tmp_path / "new.json")
    assert done.code == 0
    assert "Reading" not in done.err
    assert "\x1b" not in done.err


def test_an_interrupt_gives_the_cursor_back(dataset, tmp_path):
    for name in COLOURS:  # Each under many names: seconds of reading.
        (tmp_path / "many" / name).mkdir(parents=True)
        for photo in (dataset / name).iterdir():
            for number in range(60):
                os.link(photo, tmp_path / "many" / name / f"{number}-{photo.name}")
    shown = OnTerminal("split", tmp_path / "many")
    shown.wait_for(b"Reading photographs")
    started = time.monotonic()
    shown.process.send_signal(signal.SIGINT)
    code, _, _ = shown.end()
    assert code == 130
    assert time.monotonic() - started < 30
    assert shown.cursor_is_there()
