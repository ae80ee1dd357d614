"""Photograph the page and a report for the documentation, with the Chromium that is installed.

python docs/pictures.py [REPORT.html]       writes docs/pictures/page.webp, and of a report docs/pictures/report.webp
python docs/pictures.py --look DIR [REPORT.html]   more of them, to look at: on a phone, in the dark, of 50 pictures
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support.browser import chromium, contents, visit

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent
SAMPLES = sorted((DOCS / "samples").glob("*.jpg"))
DESKTOP, PHONE = {"width": 1000, "height": 760}, {"width": 390, "height": 844}
MANY = 50


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, nargs="?")
    parser.add_argument("--look", type=Path, metavar="DIR")
    asked = parser.parse_args()
    folder = asked.look or DOCS / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        if asked.report:
            photograph_report(browser, asked.report.resolve().as_uri(), folder, everything=bool(asked.look))
        with page() as url:
            photograph_page(browser, url, folder, everything=bool(asked.look))


@contextmanager
def page() -> Iterator[str]:
    """Serve the page of the default model; yield its address."""
    line = [sys.executable, "-m", "flowercli", "serve", "--port", "0"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603
        assert server.stderr is not None
        try:
            yield next(found[1] for said in server.stderr if (found := re.match(r"Ready: (\S+)", said)))
        finally:
            server.terminate()
            server.stderr.read()


def photograph_page(browser: Any, url: str, folder: Path, *, everything: bool) -> None:
    """Take the page with the samples on it."""
    looks = {"page": ("light", DESKTOP)}
    if everything:
        looks |= {"page-dark": ("dark", DESKTOP), "page-phone": ("light", PHONE), "page-phone-dark": ("dark", PHONE)}
    for name, (scheme, size) in looks.items():
        with visit(browser, color_scheme=scheme, viewport=size) as visitor:
            visitor.open(url)
            if everything:
                save(visitor.page.screenshot(full_page=True), folder / f"{name}-empty.webp")
            visitor.drop(contents(SAMPLES))
            visitor.answers(len(SAMPLES))
            save(visitor.page.screenshot(full_page=everything), folder / f"{name}.webp")
            if everything:
                many = {f"IMG_{number:04}.jpg": SAMPLES[number % 5].read_bytes() for number in range(MANY - 7)}
                visitor.drop({**many, "notes.jpg": b"Buy bulbs\n", "wall.png": wall()})
                visitor.page.locator(".picture:not(.waiting)").nth(MANY - 1).wait_for(timeout=300_000)
                save(visitor.page.screenshot(full_page=False), folder / f"{name}-many.webp")


def wall() -> bytes:
    """A picture that shows no flower."""
    written = io.BytesIO()
    Image.effect_noise((640, 480), 60).save(written, "PNG")
    return written.getvalue()


def photograph_report(browser: Any, url: str, folder: Path, *, everything: bool) -> None:
    """Take the part of a report that says what is taken for what, and to look at all of it."""
    for scheme in ("light", "dark") if everything else ("light",):
        with visit(browser, color_scheme=scheme, viewport=DESKTOP) as visitor:
            visitor.page.goto(url)
            if not everything:
                visitor.page.evaluate("document.querySelector('.figures').scrollIntoView()")
            shot = visitor.page.screenshot(full_page=everything)
            save(shot, folder / f"report{'' if scheme == 'light' else '-dark'}.{'png' if everything else 'webp'}")


def save(shot: bytes, path: Path) -> None:
    """Write a picture small."""
    Image.open(io.BytesIO(shot)).convert("RGB").save(path, quality=80, method=6) if path.suffix == ".webp" else (
        path.write_bytes(shot)
    )


if __name__ == "__main__":
    main()
