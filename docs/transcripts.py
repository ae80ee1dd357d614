"""Type what a gardener and an engineer would on their first day, and write down what they see.

python docs/transcripts.py                  writes docs/first-minutes.md and docs/first-hour.md
python docs/transcripts.py --check          only compares, but for figures, which differ between machines
python docs/transcripts.py --pictures DIR   draws them in light and dark too, as SVG
python docs/transcripts.py --program SCRIPT of a shell that is `flowers`, instead of this Python with warnings as errors
"""

from __future__ import annotations

import argparse
import difflib
import os
import random
import re
import shutil
import socket
import sys
import tempfile
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw, ImageEnhance
from terminal import COLUMNS, Screen, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCS = Path(__file__).parent
SAMPLES = DOCS / "samples"
PORT, SERVING = "8000", "Ready: "
# The classes of the engineer's folder, and photographs a class.
KINDS, COUNT = ("daisy", "dandelion", "rose"), 40


# What a network that is trained anew may answer otherwise on another machine: patterns of a page without white space,
# its figures as N, and what stands in their place.
OF_A_TRAINING = (
    (r"N%(,?(daisy|dandelion|rose)N%)*", "N%"),
    (r"daisy|dandelion|rose", "CLASS"),
    (r"·", "N"),
    (r"bfN", "fpN"),
    (r"minmax|percentile|entropy", "METHOD"),
    (r"stable|moderatechange|largechange", "VERDICT"),
    (r"(confidence|known|classmix)\(.*?now\),?", ""),
    (r"Took.*?;", "Took;"),
    (r"AccuracyofAminusB.*", ""),
)


class Step(NamedTuple):
    """What is said, typed, and waited for where a program goes on running."""

    words: str
    line: str
    until: str | None = None


class Transcript(NamedTuple):
    """A page of the documentation."""

    file: str
    title: str
    prepare: Callable[[Path], None]
    steps: tuple[Step, ...]
    varies: tuple[tuple[str, str], ...] = ()


def draw_what_a_gardener_has(folder: Path) -> None:
    """The samples, a wall, and a rose from afar."""
    holiday = folder / "holiday"
    holiday.mkdir()
    for name in ("daisy", "rose", "sunflower", "tulip"):
        shutil.copy(SAMPLES / f"{name}.jpg", holiday)
    wall = Image.new("RGB", (480, 360), (196, 186, 170))
    drawing = ImageDraw.Draw(wall)
    for row in range(12):
        for brick in range(-1, 8):
            left = brick * 66 + row % 2 * 33
            drawing.rectangle((left, row * 30, left + 61, row * 30 + 25), fill=(158 + row * 3, 74 + brick % 3 * 8, 58))
    wall.save(holiday / "wall.png")
    meadow = Image.new("RGB", (900, 700), (70, 110, 60))
    with Image.open(SAMPLES / "rose.jpg") as rose:
        meadow.paste(rose.resize((150, 110)), (60, 400))
    meadow.save(holiday / "far.jpg")


def cut_what_an_engineer_has(folder: Path) -> None:
    """A folder of small pictures, cut out of the samples: enough to see each command at work, and no more."""
    for kind in KINDS:
        chance = random.Random(kind)  # noqa: S311
        target = folder / "photos" / kind
        target.mkdir(parents=True)
        with Image.open(SAMPLES / f"{kind}.jpg") as whole:
            for number in range(COUNT):
                side = int(min(whole.size) * chance.uniform(0.3, 0.6))
                left, top = (chance.randrange(length - side) for length in whole.size)
                part = whole.crop((left, top, left + side, top + side)).resize((160, 160))
                turned = part.rotate(chance.choice((0, 90, 180, 270)))
                ImageEnhance.Brightness(turned).enhance(chance.uniform(0.7, 1.3)).save(target / f"{number:02}.jpg")


GARDENER = Transcript(
    "first-minutes.md",
    "A gardener's first ten minutes",
    draw_what_a_gardener_has,
    (
        Step(
            "After [installing](install.md), with a folder `holiday` of six pictures: which flowers are these?",
            "flowers classify holiday",
        ),
        Step(
            "A wall is none, and of a rose from afar it is not sure. What does it know?",
            "flowers models",
        ),
        Step("Of one model all flowers; here the first of them.", "flowers models garden | head -8"),
        Step(
            "It can be one of two, and you know which two.",
            "flowers classify holiday/rose.jpg --only rose,tulip",
        ),
        Step("A flower that it does not have.", "flowers classify holiday/rose.jpg --only rose,tulp"),
        Step("A picture that is not there.", "flowers classify holiday/rsoe.jpg"),
        Step("A command that is none.", "flowers clasify holiday"),
        Step("A picture from another program, instead of a file.", "cat holiday/rose.jpg | flowers classify -"),
        Step("Into folders by flower.", "flowers classify holiday --copy-to sorted"),
        Step("What is where now?", "ls sorted sorted/_refused sorted/rose"),
        Step("And back.", "flowers undo sorted/undo-*.jsonl"),
        Step(
            "A table for a spreadsheet, with the probability of every flower; here the beginning of its lines.",
            "flowers classify holiday --format csv --output answers.csv; cut -c-76 answers.csv",
        ),
        Step("What else is there?", "flowers --help"),
        Step(
            "`flowers serve` brings all of it into a browser, after the command that it prints where it is not "
            "installed: [the page](page.md). And how the command you use most is called:",
            "flowers classify --help",
        ),
    ),
)
ENGINEER = Transcript(
    "first-hour.md",
    "An engineer's first hour",
    cut_what_an_engineer_has,
    (
        Step(
            "With the extra `train` ([install](install.md)), and a folder `photos` of three classes. The pictures and "
            "the network are as small as they can be, so that each command is seen at work; the figures are of no "
            "use.",
            "ls photos",
        ),
        Step("Split once; every later step reads it.", "flowers split photos --stratify --ratios 0.6,0.2,0.2"),
        Step(
            "Train. The bundle's path is all that goes to stdout.",
            "BUNDLE=$(flowers train --data photos model=tiny --epochs 6 optim.lr=1e-2)",
        ),
        Step("An override that is none.", "flowers train --data photos model=tiny optim.leraning_rate=1"),
        Step(
            "Once more, with another loss.",
            "BUNDLE2=$(flowers train --data photos model=tiny --epochs 6 optim.lr=1e-2 loss=supcon)",
        ),
        Step("How good is it, on photographs that it has not seen?", "flowers eval $BUNDLE --split test"),
        Step("Is the second better, by more than chance?", "flowers eval $BUNDLE2 --against $BUNDLE --split test"),
        Step("For answering: ONNX, checked against torch, and int8.", "flowers export $BUNDLE --onnx --int8"),
        Step("What is in a bundle?", "ls $BUNDLE"),
        Step("It answers like any other model.", "flowers classify photos/rose/00.jpg --model $BUNDLE"),
        Step(
            "Keep a log of what is asked.",
            "flowers classify photos/rose --model $BUNDLE --log answers.db | tail -2",
        ),
        Step("Is it still what the model was made for?", "flowers drift answers.db --reference $BUNDLE"),
        Step("As a service.", f"flowers serve $BUNDLE --port {PORT}", SERVING),
        Step("From another terminal:", f"curl -s -F file=@photos/rose/00.jpg localhost:{PORT}/v1/classify"),
        Step("On the Hub: first what would be sent.", "flowers publish $BUNDLE you/photos --dry-run"),
    ),
    OF_A_TRAINING,
)
ALL = (GARDENER, ENGINEER)
PROGRAM = f'exec "{sys.executable}" -W error -P -m flowercli "$@"'


def typed(transcript: Transcript, program: str) -> Iterator[tuple[Step, Screen]]:
    """Type the steps in a folder of their own; yield each with the screen after it."""
    with tempfile.TemporaryDirectory() as temporary, socket.socket() as free:
        folder = Path(temporary).resolve()
        work = folder / "home" / "you"
        programs = folder / "programs"
        work.mkdir(parents=True)
        programs.mkdir()
        script = programs / "flowers"
        script.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
        script.chmod(0o755)
        transcript.prepare(work)
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        variables = {
            "HOME": str(work),
            "FLOWERS_HOME": str(folder / "data"),
            "HF_HUB_OFFLINE": "1",
            "PATH": f"{programs}:{os.environ['PATH']}",
        }
        terminal = Terminal(work, variables, {str(work): "/home/you", str(folder): "/home", f":{port}": f":{PORT}"})
        try:
            for step in transcript.steps:
                yield step, terminal.type(step.line.replace(PORT, port), until=step.until)
        finally:
            terminal.close()


def page(transcript: Transcript, shown: list[tuple[Step, Screen]]) -> str:
    """Return the page in Markdown."""
    parts = [f"# {transcript.title}\n\nWritten by `python docs/transcripts.py`, on a terminal of {COLUMNS} columns."]
    for step, screen in shown:
        parts.append(f"{step.words}\n\n```text\n{f'$ {step.line}'}\n{screen.text()}".rstrip() + "\n```")
    return "\n\n".join(parts) + "\n"


def words_of(part: str, varies: tuple[tuple[str, str], ...]) -> str:
    """Return a part of a page without what differs between machines: figures, hashes, bars, where lines break."""
    of_all = ((r"\b[0-9a-f]{8,}\b", "N"), (r"[█▉▊▋▌▍▎▏─━░│╭╮╰╯]+|\s+", ""), (r"[<>]?\d[\d.,:e+-]*", "N"))
    for pattern, instead in (*of_all, *varies):
        part = re.sub(pattern, instead, part)
    return part


def draw(folder: Path, transcript: Transcript, shown: list[tuple[Step, Screen]]) -> None:
    """Draw a transcript in light and dark."""
    from rich.console import Console
    from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI
    from rich.text import Text

    for name, theme in (("light", DEFAULT_TERMINAL_THEME), ("dark", DIMMED_MONOKAI)):
        console = Console(width=COLUMNS, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        for step, screen in shown:
            console.print(Text(f"$ {step.line}", style="bold"))
            console.print(Text.from_ansi(screen.text(styled=True)), soft_wrap=True)
        folder.mkdir(parents=True, exist_ok=True)
        console.save_svg(str(folder / f"{Path(transcript.file).stem}-{name}.svg"), title="flowers", theme=theme)


def main() -> int:
    """Type, and write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PAGE", help=f"of {', '.join(one.file for one in ALL)}; all")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--program", default=PROGRAM)
    asked = parser.parse_args()
    stale = 0
    for transcript in (one for one in ALL if not asked.names or one.file in asked.names):
        shown = list(typed(transcript, asked.program))
        written = page(transcript, shown)
        target = DOCS / transcript.file
        if asked.pictures:
            draw(asked.pictures, transcript, shown)
        if asked.check:
            stale += differs(target, written, transcript.varies)
        else:
            target.write_text(written, encoding="utf-8")
    return 1 if stale else 0


def differs(target: Path, written: str, varies: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether a page says something else than it did, and print what is said now."""
    parts = zip_longest(target.read_text(encoding="utf-8").split("```"), written.split("```"), fillvalue="")
    others = [(old, new) for old, new in parts if words_of(old, varies) != words_of(new, varies)]
    for old, new in others:
        print("\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), str(target), "now", lineterm="")))
        print(f"Without figures:\n{words_of(old, varies)}\n{words_of(new, varies)}\n")
    return bool(others)


if __name__ == "__main__":
    sys.exit(main())
