"""Parts of a page in HTML. Every text that is given is escaped here, so that nothing a class is called can be markup."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from flowercli import __version__
from flowercli.training.plot_files import inline_svg
from flowercli.training.plot_style import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowercli.training.figures import Plot

TEMPLATE = "report.html"


def text(value: object) -> str:
    """Return a text as HTML; half characters, which a file name may hold, become question marks."""
    return escape(str(value).encode("utf-8", "replace").decode())


def page(title: str, header: Iterable[str], body: Iterable[str]) -> str:
    """Return a whole page that holds everything it shows.

    Args:
        title: text.
        header: parts, in HTML, that say what the page is about.
        body: parts, in HTML.
    """
    template = Template(files("flowercli.training").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.substitute(
        title=text(title),
        generator=text(f"flowers {__version__}"),
        header="\n".join(header),
        body="\n".join(body),
    )


def section(title: str, *parts: str) -> str:
    """Return a part of the page under a heading."""
    return f"<section>\n<h2>{text(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(words: str, kind: str = "") -> str:
    """Return a paragraph; ``kind`` is a class of the style sheet."""
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return names and values as a list of definitions."""
    return "<dl>\n" + "\n".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs) + "\n</dl>"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, last_is_text: bool = False) -> str:
    """Return a table whose first cells are headings of their rows, in a box that scrolls by itself where it is wide."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in columns)
    lines = []
    for first, *others in rows:
        cells = [f"<td>{text(value)}</td>" for value in others]
        if last_is_text:
            cells[-1] = f'<td class="text">{text(others[-1])}</td>'
        lines.append(f'<tr><th scope="row">{text(first)}</th>{"".join(cells)}</tr>')
    return scrolling(
        caption,
        f"<table>\n<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        "<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>",
    )


def figure(plot: Plot, caption: str) -> str:
    """Return a plot with what there is to know for reading it."""
    drawing = inline_svg(plot)
    if plot.figure.get_figwidth() > 2 * WIDTH:
        drawing = scrolling(plot.alt, drawing.replace("<svg", '<svg class="wide"', 1))
    return f'<figure id="{plot.name}">\n{drawing}\n<figcaption>{text(caption)}</figcaption>\n</figure>'


def gallery(cards: Iterable[tuple[str, str, str]]) -> str:
    """Return photographs: for each its ``data:`` address, what is said of it, and its path."""
    items = (
        f'<li><img src="{text(address)}" alt="{text(said)}" loading="lazy">'
        f'<span class="said">{text(said)}</span><span class="path">{text(path)}</span></li>'
        for address, said, path in cards
    )
    return '<ul class="gallery">\n' + "\n".join(items) + "\n</ul>"


def folded(summary: str, content: str) -> str:
    """Return HTML that is shown when asked for."""
    return f"<details>\n<summary>{text(summary)}</summary>\n{content}\n</details>"


def scrolling(label: str, content: str) -> str:
    """Return HTML in a box that the keyboard reaches and scrolls."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{text(label)}">\n{content}\n</div>'
