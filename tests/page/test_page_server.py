"""The page of ``flowers serve``, in a real Chromium: on the device until the switch says otherwise."""

from __future__ import annotations

import pytest
from conftest import SAMPLES
from PIL import Image
from support.browser import chromium, contents, flowers_serve, visit

from flowercli.serving.page import runtime

ROSE, DAISY = SAMPLES / "rose.jpg", SAMPLES / "daisy.jpg"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.skipif(not runtime.is_there(), reason="this install was built without npm")
def test_pictures_stay_on_the_device_until_the_switch_says_otherwise(browser):
    with flowers_serve() as (url, _), visit(browser) as visitor:
        visitor.open(url)
        assert visitor.page.evaluate("crossOriginIsolated")
        visitor.requests.clear()
        visitor.drop(contents([ROSE]))
        assert visitor.answers(1)["rose.jpg"].startswith("Rose: ")
        assert visitor.sent() == []
        assert "stay on this device" in visitor.page.locator("#privacy").inner_text()
        visitor.page.get_by_role("switch", name="Use the server").check()
        assert "is sent to 127.0.0.1" in visitor.page.locator("#privacy").inner_text()
        visitor.drop({**contents([DAISY]), "notes.jpg": b"Buy bulbs\n"})
        answers = visitor.answers(3)
        assert answers["daisy.jpg"].startswith("Daisy: ")
        assert answers["notes.jpg"].startswith("No answer: It is not a picture")
        assert visitor.sent() == [f"{url.rstrip('/')}/v1/classify?top_k=0"]
        assert visitor.faults == []


def test_a_server_with_a_key_is_asked_with_the_one_that_was_typed(browser):
    with flowers_serve("--api-key", "bloom 7") as (url, _), visit(browser) as visitor:
        visitor.open(url)
        if runtime.is_there():
            assert not visitor.page.get_by_label("Key of the server").is_visible()
            visitor.page.get_by_role("switch", name="Use the server").check()
        visitor.drop(contents([ROSE, DAISY]))
        assert all("asks for its key" in said for said in visitor.answers(2).values())
        use_key(visitor, "blüte 7")
        assert all("does not know this key" in said for said in visitor.answers(2).values())
        use_key(visitor, "bloom 7")
        answers = visitor.answers(2)
        assert answers["rose.jpg"].startswith("Rose: ")
        assert answers["daisy.jpg"].startswith("Daisy: ")
        visitor.drop(contents([SAMPLES / "tulip.jpg"]))
        assert visitor.answers(3)["tulip.jpg"].startswith("Tulip: ")


def use_key(visitor, key):
    visitor.page.get_by_label("Key of the server").fill(key)
    visitor.page.get_by_role("button", name="Use this key").click()


def test_without_npm_at_build_time_the_server_answers_and_the_page_says_so(browser):
    with flowers_serve(with_runtime=False) as (url, process), visit(browser) as visitor:
        visitor.open(url)
        notice = visitor.page.locator("#notice").inner_text()
        assert notice == "This page came without the part that answers on your device. The server answers instead."
        assert visitor.page.get_by_role("switch", name="Use the server").is_disabled()
        visitor.drop(contents([ROSE]))
        assert visitor.answers(1)["rose.jpg"].startswith("Rose: ")
        process.terminate()
        process.stderr.read()
        process.wait(30)
        visitor.drop(contents([DAISY]))
        assert visitor.answers(2)["daisy.jpg"] == "No answer: The server cannot be reached."


@pytest.mark.skipif(not runtime.is_there(), reason="this install was built without npm")
def test_the_page_leads_to_how_programs_ask_and_that_asks_nobody_else(browser):
    with flowers_serve() as (url, _), visit(browser) as visitor:
        visitor.open(url)
        visitor.page.locator("#api a").click()
        visitor.page.locator("h1").wait_for()
        text = visitor.page.locator("main").inner_text()
        targets = visitor.page.eval_on_selector_all("a[href^='#']", "links => links.map(link => link.hash.slice(1))")
        assert all(visitor.page.locator(f"[id='{target}']").count() == 1 for target in targets)
        assert "an application/problem+json object" in text
        assert {"POST /v1/classify", "GET /v2/health/ready"} <= set(text.splitlines())
        assert all(request.startswith((url, "blob:")) for request in visitor.requests)
        assert visitor.faults == []


@pytest.mark.skipif(not runtime.is_there(), reason="this install was built without npm")
def test_what_this_browser_cannot_read_goes_to_the_server_when_the_switch_says_so(browser, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra 'heif'")
    with Image.open(ROSE) as picture:
        pillow_heif.from_pillow(picture).save(tmp_path / "IMG_1.HEIC")
    with flowers_serve() as (url, _), visit(browser) as visitor:
        visitor.open(url)
        visitor.drop(contents([tmp_path / "IMG_1.HEIC"]))
        said = visitor.answers(1)["IMG_1.HEIC"]
        assert said.startswith("No answer: This browser cannot read HEIC pictures. Turn on “Use the server”")
        visitor.page.get_by_role("switch", name="Use the server").check()
        visitor.page.get_by_role("heading", name="Rose").wait_for()
