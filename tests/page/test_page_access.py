"""The page for everybody: keyboard alone, screen reader, light and dark, a narrow telephone; checked by axe-core."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from support.browser import chromium, export_site, host, visit
from support.garden import picture, write_garden

AXE = "axe-core@4"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ROSE, DAISY = {"rose.png": picture("rose")}, {"daisy.png": picture("daisy", 0.2)}
BAD = {"notes.jpg": b"Buy bulbs\n", "nothing.png": b""}
NARROW = {"width": 320, "height": 640}


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):  # noqa: ARG001  (skips first where there is no browser)
    folder = tmp_path_factory.mktemp("host")
    with host(export_site(folder / "site", write_garden(folder / "garden.onnx"))) as url:
        yield url


@pytest.fixture(scope="module")
def keyed(browser, tmp_path_factory):  # noqa: ARG001  (skips first where there is no browser)
    """Yield the address of a page that believes to be one of a server with a key."""
    site = export_site(tmp_path_factory.mktemp("host") / "site")
    settings = json.loads((site / "page.json").read_text())
    (site / "page.json").write_text(json.dumps({**settings, "server": True, "key": True}))
    health = site / "v2" / "health"
    health.mkdir(parents=True)
    (health / "ready").write_text("{}")
    with host(site) as url:
        yield url


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """Return the source of axe-core, from npm."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("npm is not installed")
    command = [npm, "install", AXE, "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--fetch-retries=0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        pytest.skip("npm cannot be reached for axe-core")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def violations(page, axe):
    page.evaluate(f"(() => {{ {axe} }})()")
    found = page.evaluate("(values) => axe.run(document, { runOnly: { type: 'tag', values } })", RULES)
    assert found["passes"], "axe looked at nothing"
    unsure = [entry for entry in found["incomplete"] if entry["id"] != "color-contrast"]
    return [
        (entry["id"], node["html"], node.get("failureSummary"))
        for entry in (*found["violations"], *unsure)
        for node in entry["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, address, axe, scheme):
    with visit(browser, color_scheme=scheme) as visitor:
        visitor.open(address)
        assert violations(visitor.page, axe) == []
        visitor.drop(BAD)
        visitor.answers(2)
        assert violations(visitor.page, axe) == []
        visitor.drop(ROSE | DAISY)
        visitor.answers(4)
        visitor.page.get_by_text("It knows 14 flowers").click()
        assert violations(visitor.page, axe) == []
        visitor.page.get_by_role("checkbox", name="daisy").check()
        assert violations(visitor.page, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_where_a_key_is_asked_for(browser, keyed, axe, scheme):
    with visit(browser, color_scheme=scheme, viewport=NARROW) as visitor:
        visitor.open(keyed)
        visitor.page.get_by_role("switch", name="Use the server").check()
        assert visitor.page.get_by_label("Key of the server").is_visible()
        assert violations(visitor.page, axe) == []
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def focused(page):
    """Return what the focus is on, as a screen reader would name it."""
    return page.evaluate(
        """() => {
          const at = document.activeElement;
          return at.getAttribute('aria-label') ?? at.labels?.[0]?.textContent ?? at.textContent;
        }"""
    )


def test_keyboard_alone_is_enough(browser, address, tmp_path):
    for name, content in (ROSE | DAISY).items():
        tmp_path.joinpath(name).write_bytes(content)
    with visit(browser) as visitor:
        page = visitor.page
        # Before the page is there: playwright takes a moment to be asked instead of the file dialog.
        page.on("filechooser", lambda chooser: chooser.set_files(sorted(tmp_path.iterdir(), reverse=True)))
        visitor.open(address)
        page.keyboard.press("Tab")
        assert focused(page) == "Choose pictures"
        assert (
            page.locator("#choose:focus-visible + .button").evaluate("label => getComputedStyle(label).outlineStyle")
            == "solid"
        )
        page.keyboard.press("Enter")
        visitor.answers(2)
        passed = []
        for _ in range(5):
            page.keyboard.press("Tab")
            passed.append(focused(page))
        assert passed == [
            "It knows 14 flowers: ask about some of them only",
            "Save as CSV",
            "Clear all",
            "Remove rose.png",
            "Remove daisy.png",
        ]
        page.keyboard.press("Enter")
        assert focused(page) == "Remove rose.png"
        page.keyboard.press("Enter")
        assert page.locator(".picture").count() == 0
        assert focused(page) == "Choose pictures"


def test_flowers_are_chosen_with_the_keyboard_alone(browser, address):
    with visit(browser) as visitor:
        page = visitor.page
        visitor.open(address)
        page.locator("#only-summary").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert focused(page) == "Find a flower"
        page.keyboard.type("bellis")
        page.keyboard.press("Tab")
        assert focused(page).strip() == "daisy Bellis perennis"
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        assert focused(page) == "Ask about all of them"
        assert page.locator("#only-summary").inner_text() == "Asked about 1 of 14 flowers only: daisy"


def test_a_screen_reader_is_told_what_happens(browser, address):
    with visit(browser) as visitor:
        visitor.open(address)
        said = visitor.page.locator("[role=status]")
        assert said.inner_text() == "Ready. Pictures stay on this device."
        visitor.drop({**ROSE, "notes.jpg": b"Buy bulbs\n"})
        visitor.answers(2)
        first, second = sorted(re.split(r"(?<=\.) (?=\w+\.(?:jpg|png):)", said.inner_text()))
        assert first == "notes.jpg: No answer. It is not a picture in a format that can be read."
        assert re.fullmatch(r"rose\.png: Rose, >?\d+(\.\d)?\xa0%\.", second)
        assert (
            visitor.page.get_by_role("listitem").filter(has_text="rose.png").get_by_role("heading", name="Rose").count()
            == 1
        )
        assert visitor.page.get_by_alt_text("The picture rose.png").count() == 1


def test_nothing_is_cut_off_at_320_pixels(browser, address):
    with visit(browser, viewport=NARROW) as visitor:
        visitor.open(address)
        visitor.drop({**ROSE, "a_very_long_name_without_any_space_in_it_at_all_2026-11-24.jpg": b"?"})
        visitor.answers(2)
        visitor.page.locator("#only-summary").click()
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_a_telephone_offers_its_camera_and_a_mouse_does_not(browser, address):
    for touch in (True, False):
        with visit(browser, has_touch=touch, is_mobile=touch) as visitor:
            visitor.open(address)
            assert visitor.page.get_by_text("Take a photograph", exact=True).is_visible() is touch
            assert visitor.page.get_by_text("Drop photographs here").is_visible() is not touch
            assert visitor.page.locator("#photograph").get_attribute("capture") == "environment"
