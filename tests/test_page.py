"""The page, as a static site in a real Chromium: it answers on the device, and asks nobody."""

from __future__ import annotations

import pytest
from browser import chromium, contents, export_site, host, visit
from conftest import SAMPLES

# Where many hosts put a site: not at their root.
BELOW = "gardens/flowers"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):  # noqa: ARG001  (skips first where there is no browser)
    root = tmp_path_factory.mktemp("host")
    export_site(root / BELOW)
    with host(root) as url:
        yield f"{url}/{BELOW}/"


def test_three_dropped_pictures_get_three_right_answers_and_nothing_is_sent(browser, address):
    with visit(browser) as visitor:
        visitor.open(address)
        assert all(url.startswith((address, f"blob:{address.split('/gardens')[0]}")) for url in visitor.requests)
        visitor.requests.clear()
        visitor.drop(contents(SAMPLES / f"{name}.jpg" for name in ("rose", "daisy", "sunflower")))
        answers = visitor.answers(3)
        assert visitor.requests == [] or all(url.startswith("blob:") for url in visitor.requests)
        assert visitor.faults == []
    assert {name: text.partition(":")[0] for name, text in answers.items()} == {
        "rose.jpg": "Rose",
        "daisy.jpg": "Daisy",
        "sunflower.jpg": "Sunflower",
    }
