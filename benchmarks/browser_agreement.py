"""Whether the page in Chromium names the same flowers as ``flowers classify``, and how fast.

python benchmarks/browser_agreement.py PHOTOS     (needs playwright, and Chromium: on PATH, or named by FLOWERS_BROWSER)
"""

from __future__ import annotations

import argparse
import base64
import functools
import http.server
import os
import random
import shutil
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from flowercli.errors import ImageError
from flowercli.export.package import Options
from flowercli.export.web import write_site
from flowercli.inference.classifier import Classifier
from flowercli.inference.sources import walk
from flowercli.models import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

# The share of same answers that is promised.
LIMIT = 0.99
NAMES = ("chromium", "chromium-browser", "google-chrome")
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
OPEN = """async () => {
  const json = async (url) => (await fetch(url)).json();
  const { Device } = await import('./device.js');
  const { answer, readRules } = await import('./answer.js');
  const settings = await json('./page.json');
  const config = await json(settings.config);
  window.inspect = (await import('./inspect.js')).inspect;
  window.device = new Device(() => {});
  await window.device.open({ ...settings, config });
  window.answer = (outputs) => answer(outputs, readRules(config));
  return crossOriginIsolated;
}"""
ASK = """async (data) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const start = performance.now();
  try {
    const file = new File([bytes], 'picture');
    const answer = window.answer(await window.device.classify(file, await window.inspect(file)));
    return { ...answer, ms: performance.now() - start };
  } catch (problem) {
    return { error: problem.code };
  }
}"""


def main() -> None:
    """Print the agreement; exit with 1 where it is less than promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--model", default="flowers5")
    parser.add_argument("--threads", action="store_true", help="serve with COOP and COEP, so that threads work")
    arguments = parser.parse_args()
    paths = sorted(walk(str(arguments.photos)))
    paths = sorted(random.Random(2024).sample(paths, min(arguments.count, len(paths))))
    classifier = Classifier.open(load_model(arguments.model), "cpu")
    expected = [ask_here(classifier, path) for path in paths]
    with page_of(arguments.model, ISOLATED if arguments.threads else {}) as page:
        isolated = page.evaluate(OPEN)
        found = [page.evaluate(ASK, base64.b64encode(Path(path).read_bytes()).decode()) for path in paths]
    print(f"{arguments.model}, {len(paths)} photographs, {'with threads' if isolated else 'one thread'}")
    report(paths, expected, found)


def ask_here(classifier: Classifier, path: str) -> dict[str, Any]:
    """Return the answer of ``classify``, or the code of its error."""
    try:
        return classifier.classify(path).as_dict()
    except ImageError as error:
        return {"error": error.code}


@contextmanager
def page_of(model: str, headers: dict[str, str]) -> Iterator[Page]:
    """Write the page of a model, serve it, and open it in Chromium."""
    browser_path = os.environ.get("FLOWERS_BROWSER") or next(filter(None, map(shutil.which, NAMES)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = write_site(load_model(model), Path(folder, "site"), Options()).path
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler(headers), directory=site))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        yield page
        browser.close()
        server.shutdown()


def handler(headers: dict[str, str]) -> type[http.server.SimpleHTTPRequestHandler]:
    """Return what serves files, quietly, with further headers."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler


def report(paths: list[str], expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Print how the answers compare, and each that differs."""
    pairs = list(zip(paths, expected, found, strict=True))
    same = [mine.get("predicted_class") == theirs.get("predicted_class") for _, mine, theirs in pairs]
    verdict = [mine.get("rejected") == theirs.get("rejected") for _, mine, theirs in pairs]
    apart = [abs(mine["confidence"] - theirs["confidence"]) for _, mine, theirs in pairs if "ms" in theirs]
    for (path, mine, theirs), equal in zip(pairs, same, strict=True):
        if not equal:
            print(
                f"{path}: {mine.get('predicted_class', mine)}, in the browser {theirs.get('predicted_class', theirs)}"
            )
    print(f"same class     {np.mean(same):.2%}")
    print(f"same rejection {np.mean(verdict):.2%}")
    tail = np.quantile(apart, 0.99)
    print(f"confidence     differs by {np.mean(apart):.4f} on average, {tail:.4f} at the 99th percentile")
    times = [theirs["ms"] for theirs in found if "ms" in theirs]
    print(f"time           median {np.median(times):.0f} ms, 95th percentile {np.quantile(times, 0.95):.0f} ms")
    sys.exit(int(np.mean(same) < LIMIT))


if __name__ == "__main__":
    main()
