"""The page without a network, in a real Chromium: kept once it was opened, renewed when it is another."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from conftest import SAMPLES
from PIL import Image
from support.browser import READY, SECONDS, chromium, contents, export_site, flowers_serve, host, visit
from support.waiting import wait_until

from flowercli.models import load_model
from flowercli.serving.page.files import SITE, page_files

# The names of what is kept of this origin.
KEPT = "async () => (await caches.keys()).toSorted()"
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):  # noqa: ARG001  (skips first where there is no browser)
    folder = export_site(tmp_path_factory.mktemp("site") / "site")
    patient(folder, 60_000)  # A busy machine takes its time to serve a page.
    return folder


def patient(folder, milliseconds):
    script = folder / "offline.js"
    text = script.read_text(encoding="utf-8")
    changed = re.sub(r"PATIENCE_MS = \d+", f"PATIENCE_MS = {milliseconds}", text)
    assert changed != text
    script.write_text(changed, encoding="utf-8")


@pytest.fixture
def visitor(browser):
    with visit(browser, service_workers="allow") as opened:
        yield opened


def keep(visitor, url):
    visitor.open(url)
    visitor.page.locator("#kept", has_text="without a network").wait_for(timeout=SECONDS * 1000)


def open_again(visitor, url):
    visitor.page.goto(url)
    visitor.page.locator("#state", has_text=READY).wait_for(timeout=SECONDS * 1000)


def port_of(url):
    return urlsplit(url).port


@contextmanager
def redirecting(port, status=302):
    """Lead from the root to a page of another program, or fail there."""

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            is_root = self.path == "/"
            self.send_response(status if is_root or status >= 500 else 200)
            if is_root:
                self.send_header("Location", "/elsewhere/")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"" if is_root else b"<title>Elsewhere</title>")

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def test_it_answers_without_a_network_once_it_was_opened(visitor, site):
    with host(site, ISOLATED) as url:
        keep(visitor, url)
    visitor.faults.clear()
    open_again(visitor, f"{url}/?only=rose,tulip")
    visitor.drop(contents([SAMPLES / "rose.jpg"]))
    assert visitor.answers(1)["rose.jpg"].startswith("Rose")
    # What was kept has its headers: several threads are possible.
    assert visitor.page.evaluate("crossOriginIsolated") is True
    # That the host is gone is seen by who asks it.
    assert [fault for fault in visitor.faults if not fault.startswith(url)] == []
    open_again(visitor, f"{url}/index.html")


def test_a_network_that_does_not_answer_is_none(visitor, site, tmp_path):
    patient(shutil.copytree(site, tmp_path / "site"), 500)
    with host(tmp_path / "site") as url:
        keep(visitor, url)
        # The browser's requests to the host hang; those of the page are answered by what is kept.
        visitor.page.context.route(re.compile(".*"), lambda _route: None)
        open_again(visitor, url)


def test_another_version_is_seen_at_once_and_takes_the_place_of_the_one_before(visitor, site, tmp_path):
    now = shutil.copytree(site, tmp_path / "site")
    with host(now) as url:
        keep(visitor, url)
        (first,) = visitor.page.evaluate(KEPT)
        for path, file in page_files(load_model("flowers5"), only=["rose", "tulip"]).items():
            (now / ("index.html" if path == "/" else path[1:])).write_bytes(file.content)
        open_again(visitor, url)
        assert "2 flowers" in visitor.page.locator("#only-summary").inner_text()
        wait_until(lambda: len(kept := visitor.page.evaluate(KEPT)) == 1 and kept != [first])
    open_again(visitor, url)
    assert "2 flowers" in visitor.page.locator("#only-summary").inner_text()


def test_what_else_is_served_there_is_not_hidden(visitor, site, tmp_path):
    with host(site) as url:
        keep(visitor, url)
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("<title>Something else</title>", encoding="utf-8")
    with host(other, port=port_of(url)):
        visitor.page.goto(url)
        assert visitor.page.title() == "Something else"


def test_a_page_that_leads_elsewhere_still_does(visitor, site):
    with host(site) as url:
        keep(visitor, url)
    with redirecting(port_of(url)):
        visitor.page.goto(url)
        assert visitor.page.title() == "Elsewhere"


def test_a_proxy_without_its_server_is_no_network(visitor, site):
    with host(site) as url:
        keep(visitor, url)
    with redirecting(port_of(url), status=502):
        open_again(visitor, url)


def test_a_file_of_another_version_is_not_kept(visitor, site, tmp_path):
    now = shutil.copytree(site, tmp_path / "site")
    (now / "strings.js").write_text((now / "strings.js").read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with host(now) as url:
        visitor.open(url)
        visitor.page.wait_for_timeout(2000)
        assert visitor.page.locator("#kept").inner_text() == ""


def test_two_pages_of_a_host_keep_their_own(visitor, site, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(site, tmp_path / name)
    with host(tmp_path) as url:
        for name in ("one", "two"):
            keep(visitor, f"{url}/{name}/")
        assert len(visitor.page.evaluate(KEPT)) == 2


def test_the_page_of_the_service_answers_when_the_service_has_ended(visitor):
    with flowers_serve() as (url, _):
        keep(visitor, url)
    open_again(visitor, url)
    assert visitor.page.locator("#server").is_hidden()
    visitor.drop(contents([SAMPLES / "tulip.jpg"]))
    assert visitor.answers(1)["tulip.jpg"].startswith("Tulip")


def test_it_can_be_put_on_a_home_screen():
    files = page_files(load_model("flowers5"))
    assert files["/manifest.webmanifest"].media_type == "application/manifest+json"
    manifest = json.loads(files["/manifest.webmanifest"].content)
    assert {"name", "short_name", "start_url", "display", "icons"} <= manifest.keys()
    assert f"/{manifest['icons'][1]['src'].removeprefix('./')}" in files
    with Image.open(SITE / "icon.png") as icon:
        assert f"{icon.width}x{icon.height}" == manifest["icons"][1]["sizes"]
    assert b'rel="manifest"' in files["/"].content


def test_a_file_that_changes_makes_another_version():
    offline = page_files(load_model("flowers5"))["/offline.js"].content
    other = page_files(load_model("flowers5"), only=["rose"])["/offline.js"].content
    assert offline == page_files(load_model("flowers5"))["/offline.js"].content != other
    listed = json.loads(re.search(rb"const FILES = (\{.*?\});", offline, re.DOTALL)[1])
    assert sorted(listed) == sorted(f".{path}" for path in page_files(load_model("flowers5")) if path != "/offline.js")
