"""A real Chromium for the tests of the page, hosts of its files, and what a visitor does."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, flowers

from flowercli.serving.page import runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

VARIABLE = "FLOWERS_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 90
READY = re.compile("^Ready")
# An install that was built where there was no npm.
WITHOUT_RUNTIME = "import pathlib; from flowercli.serving.page import runtime; runtime.FOLDER = pathlib.Path('nowhere')"
START = "import sys; from flowercli.cli.main import main; sys.exit(main(['serve', '--port', '0', *sys.argv[1:]]))"
MAKE_TRANSFER = """files => {
  const transfer = new DataTransfer();
  for (const { name, data } of files) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: name.endsWith('.jpg') ? 'image/jpeg' : '' }));
  }
  return transfer;
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser that is installed; skip the test where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install --group browser")
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no {' or '.join(NAMES[:3])} on PATH, and {VARIABLE} names none")
    # Root, as in most containers, cannot have Chromium's sandbox.
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=options)
        try:
            yield browser
        finally:
            browser.close()


def export_site(target: Path, model: str | Path = "flowers5") -> Path:
    """Have the program write the page as a static site; skip the test where the build had no npm."""
    if not runtime.is_there():
        pytest.skip("this install was built without npm: it has no onnxruntime for browsers")
    done = flowers("export", model, "--web", target)
    assert done.code == 0, done.err
    return target


@contextmanager
def flowers_serve(
    *arguments: str, with_runtime: bool = True, model: str = "flowers5"
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start the program; yield its address, and what stops it; skip the test where it cannot be."""
    pytest.importorskip("flowercli.serving.http.server", reason="needs the extra 'serve'")
    script = START if with_runtime else f"{WITHOUT_RUNTIME}\n{START}"
    line = [sys.executable, "-c", script, model, *arguments]
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield next(found[1] for line in process.stderr if (found := re.match(r"Ready: (\S+)", line))), process
        finally:
            process.terminate()
            process.stderr.read()


class Server(http.server.ThreadingHTTPServer):
    """A server to which a window that closes in the middle is nothing to speak of."""

    def handle_error(self, *_arguments: object) -> None:
        """Say nothing."""


class Handler(http.server.SimpleHTTPRequestHandler):
    """The very server of ``python -m http.server``, without its log."""

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def host(folder: Path, headers: Mapping[str, str] | None = None, port: int = 0) -> Iterator[str]:
    """Serve a folder as ``python -m http.server`` does, with further headers if asked for; yield its address."""

    class WithHeaders(Handler):
        def end_headers(self) -> None:
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

    server = Server(("127.0.0.1", port), functools.partial(WithHeaders, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Visit:
    """One visit to the page: what it requested, what went wrong, and the hands of the visitor."""

    page: Any
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        """Open the page and wait until it can answer."""
        self.page.goto(url)
        self.page.locator("#state", has_text=READY).wait_for(timeout=SECONDS * 1000)

    def sent(self) -> list[str]:
        """Return what was requested, without thumbnails, which come from the browser's own memory."""
        return [url for url in self.requests if not url.startswith("blob:")]

    def drop(self, files: Mapping[str, bytes]) -> None:
        """Drop files on the page, given by name."""
        self.page.dispatch_event("#intake", "drop", {"dataTransfer": self._transfer(files)})

    def paste(self, files: Mapping[str, bytes]) -> None:
        """Paste files into the page, given by name."""
        self.page.evaluate(
            "(clipboardData) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }))",
            self._transfer(files),
        )

    def _transfer(self, files: Mapping[str, bytes]) -> Any:
        payload = [{"name": name, "data": base64.b64encode(data).decode()} for name, data in files.items()]
        return self.page.evaluate_handle(MAKE_TRANSFER, payload)

    def answers(self, count: int) -> dict[str, str]:
        """Wait for that many answers or problems, and return the heading and the sentence of each by file name."""
        self.page.locator(".picture:not(.waiting)").nth(count - 1).wait_for(timeout=SECONDS * 1000)
        cards = self.page.locator(".picture").all()
        texts = {card.locator(".file").inner_text(): card for card in cards}
        return {
            name: f"{card.locator('h3').inner_text()}: {card.locator('.detail').inner_text()}"
            for name, card in texts.items()
        }


@contextmanager
def visit(browser: Any, **options: Any) -> Iterator[Visit]:
    """Open a window of its own; with ``service_workers="allow"`` the page may keep its files."""
    context = browser.new_context(**{"service_workers": "block"} | options)
    opened = Visit(context.new_page())
    context.on("request", lambda request: opened.requests.append(request.url))
    context.on("requestfailed", lambda request: opened.faults.append(request.url))
    opened.page.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.page.on("console", lambda message: opened.faults.append(message.text) if message.type == "error" else None)
    try:
        yield opened
    finally:
        context.close()


def contents(paths: Iterable[Path]) -> dict[str, bytes]:
    """Return the bytes of files by name."""
    return {path.name: path.read_bytes() for path in paths}
