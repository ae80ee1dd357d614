"""Parts of a page in HTML; every text is escaped here, so that nothing a class is called can be markup."""

from __future__ import annotations

import base64
import datetime as dt
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from flowercli import __version__, shown
from flowercli.inference.preprocess import load_upright
from flowercli.reporting.plot_files import svg
from flowercli.reporting.plot_style import COLOURS, GRID, INK, MUTED, PAPER, WIDTH

if TYPE_CHECKING:
    from flowercli.evaluation.answers import Answers
    from flowercli.inference.decode import File
    from flowercli.reporting.figure_list import Plot


TEMPLATE = "report.html"
# What a page may set, and what the drawing falls back on.
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper", COLOURS[0]: "--blue"}

MOST = 24
SIDE = 160
QUALITY = 80


def text(value: object) -> str:
    """Return a text as HTML, with what would turn the text beside it, or has no form, as escapes."""
    return escape(shown.lines(str(value)))


def page(title: str, header: Iterable[str], body: Iterable[str]) -> str:
    """Return a whole page that holds everything it shows.

    Args:
        title: text.
        header: parts, in HTML, that say what the page is about.
        body: parts, in HTML.
    """
    template = Template(files("flowercli.reporting").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.substitute(
        title=text(title),
        generator=text(f"flowers {__version__}"),
        header="\n".join(header),
        body="\n".join(body),
    )


def sentence(words: str) -> str:
    """Return words as HTML in which a number and its sign stay on one line."""
    return text(words).replace(" %", "&nbsp;%")


def section(title: str, *parts: str) -> str:
    """Return a part of the page under a heading."""
    return f"<section>\n<h2>{text(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(words: str, kind: str = "") -> str:
    """Return a paragraph; ``kind`` is a class of the style sheet."""
    content = sentence(words)
    return f'<p class="{kind}">{content}</p>' if kind else f"<p>{content}</p>"


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return names and values as a list of definitions."""
    return "<dl>\n" + "\n".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs) + "\n</dl>"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, last_is_text: bool = False) -> str:
    """Return a table whose first cells are headings of their rows, in a box that scrolls by itself where it is wide."""
    heads = [f'<th scope="col">{text(name)}</th>' for name in columns]
    if last_is_text:
        heads[-1] = f'<th scope="col" class="text">{text(columns[-1])}</th>'
    lines = []
    for first, *others in rows:
        cells = [f"<td>{text(value)}</td>" for value in others]
        if last_is_text:
            cells[-1] = f'<td class="text">{text(others[-1])}</td>'
        lines.append(f'<tr><th scope="row">{text(first)}</th>{"".join(cells)}</tr>')
    return scrolling(
        caption,
        f"<table>\n<caption>{text(caption)}</caption>\n<thead><tr>{''.join(heads)}</tr></thead>\n"
        "<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>",
    )


def figure(plot: Plot, caption: str) -> str:
    """Return a plot with what there is to know for reading it."""
    drawing = inline_svg(plot)
    if plot.figure.get_figwidth() > 2 * WIDTH:
        drawing = scrolling(plot.alt, drawing.replace("<svg", '<svg class="wide"', 1))
    return f'<figure id="{plot.name}">\n{drawing}\n<figcaption>{text(caption)}</figcaption>\n</figure>'


def inline_svg(plot: Plot) -> str:
    """Return a plot as the ``<svg>`` element of a page.

    Its ids carry the name of the plot, so that several can share a page; the colours of text and ground are the
    page's variables; it asks for nothing from elsewhere, and its alternative text is the plot's.
    """
    drawn = svg(plot.figure)
    drawn = drawn[drawn.index("<svg") :]
    # Namespaces are addresses that a page does not need, and a style element would hold for the whole page.
    drawn = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", drawn).replace("xlink:href=", "href=")
    drawn = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", drawn, count=1, flags=re.DOTALL)
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{plot.name}-", drawn)
    for colour, variable in VARIABLES.items():
        drawn = drawn.replace(f": {colour}", f": var({variable}, {colour})")
    return drawn.replace("<svg", f'<svg role="img" aria-label="{text(plot.alt)}"', 1)


def gallery(cards: Iterable[tuple[str, str, str]]) -> str:
    """Return photographs: for each its ``data:`` address, what is said of it, and its path."""
    items = (
        f'<li><img src="{text(address)}" alt="{text(said)}">'
        f'<span class="said">{sentence(said)}</span><span class="path">{text(path)}</span></li>'
        for address, said, path in cards
    )
    return '<ul class="gallery">\n' + "\n".join(items) + "\n</ul>"


def written() -> tuple[str, str]:
    """Return when and by what a page is written, as one of its facts."""
    return "Written", f"{dt.datetime.now().astimezone():%Y-%m-%d %H:%M %Z} by flowers {__version__}"


def folded(summary: str, content: str) -> str:
    """Return HTML that is shown when asked for."""
    return f"<details>\n<summary>{text(summary)}</summary>\n{content}\n</details>"


def scrolling(label: str, content: str) -> str:
    """Return HTML in a box that the keyboard reaches and scrolls."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{text(label)}">\n{content}\n</div>'


@dataclass(frozen=True)
class Mistake:
    """One wrongly named photograph: its path in the dataset, what it is, what was said, and how surely (0…1)."""

    path: str
    is_: str
    named: str
    confidence: float


def confident_mistakes(answers: Answers, class_names: Sequence[str], most: int = MOST) -> list[Mistake]:
    """Return the wrong answers, the surest first, at most ``most``."""
    confidence = answers.probabilities.max(axis=1)
    wrong = np.flatnonzero(~answers.right)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    targets, predictions = answers.targets, answers.predictions
    return [
        Mistake(answers.paths[i], class_names[targets[i]], class_names[predictions[i]], float(confidence[i]))
        for i in surest
    ]


def thumbnail(source: File) -> str:
    """Return a photograph as the ``data:`` address of a JPEG, 160 pixels high and at most twice as wide.

    Raises:
        ImageError: the photograph cannot be read.
    """
    image = load_upright(source, SIDE)
    image.thumbnail((2 * SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
