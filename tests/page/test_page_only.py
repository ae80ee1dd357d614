"""The page and which flowers it answers: names in words and in Latin, refusals, a choice that can be bookmarked."""

from __future__ import annotations

import pytest
from support.browser import chromium, export_site, flowers_serve, host, visit
from support.garden import NAMES, picture, write_garden

from flowercli.serving.page import runtime

PICTURES = {"iris.png": picture("iris"), "rose.png": picture("rose", 0.6), "cat.png": picture("wallflower", 0.1)}
ANSWERS = {
    "iris.png": "Iris: 90.9\xa0% sure",
    "rose.png": "Not sure: Most like rose, 91\xa0%.",
    "cat.png": "None of the 14 flowers I know: The nearest is wallflower, 91\xa0%.",
}
AMONG_TWO = {
    "iris.png": "None of the 2 flowers asked about: The nearest is poppy, 100\xa0%.",
    "rose.png": "Not sure: Most like rose, 95\xa0%.",
    "cat.png": "None of the 2 flowers asked about: The nearest is rose, 100\xa0%.",
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def model(browser, tmp_path_factory):  # noqa: ARG001  (skips first where there is no browser)
    return write_garden(tmp_path_factory.mktemp("model") / "garden.onnx")


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    with host(export_site(tmp_path_factory.mktemp("host") / "site", model)) as url:
        yield url


def summary(visitor):
    return visitor.page.locator("#only-summary").inner_text()


def asked(visitor):
    """Return what was requested; Chromium looks for the page's icon again when the address changes."""
    return [url for url in visitor.sent() if not url.endswith("/flower.svg")]


def choose(visitor, *names):
    visitor.page.locator("#only-summary").click()
    for name in names:
        visitor.page.get_by_role("checkbox", name=name).check()


def test_an_answer_has_its_name_in_words_and_in_latin(browser, address):
    with visit(browser) as visitor:
        visitor.open(address)
        visitor.drop({"a.png": picture("lily_of_the_valley"), "b.png": picture("wild_flower")})
        answers = visitor.answers(2)
        assert answers["a.png"].startswith("Lily of the valley: ")
        assert answers["b.png"].startswith("Wild flower: ")
        # The second has none.
        latin = visitor.page.locator(".picture i")
        assert latin.all_inner_texts() == ["Convallaria majalis"]
        assert latin.evaluate("one => getComputedStyle(one).fontStyle") == "italic"
        assert latin.get_attribute("lang") == "la"
        first = visitor.page.locator(".picture").first.locator(".bars li")
        assert next(text.split("\n")[0] for text in first.all_inner_texts()) == "lily of the valley"
        assert first.count() == 5


def test_refusals_are_in_words_and_their_bars_grey(browser, address):
    with visit(browser) as visitor:
        visitor.open(address)
        visitor.drop(PICTURES)
        assert visitor.answers(3) == ANSWERS
        colours = {
            card.locator(".file").inner_text(): card.locator(".fill").first.evaluate(
                "bar => getComputedStyle(bar).backgroundColor"
            )
            for card in visitor.page.locator(".picture").all()
        }
        assert colours["rose.png"] == colours["cat.png"] != colours["iris.png"]
        assert visitor.faults == []


def test_chosen_flowers_are_asked_about_at_once_and_stand_in_the_address(browser, address):
    with visit(browser) as visitor:
        visitor.open(f"{address}/?from=mail")
        assert summary(visitor) == "It knows 14 flowers: ask about some of them only"
        visitor.drop(PICTURES)
        assert visitor.answers(3) == ANSWERS
        visitor.requests.clear()
        choose(visitor, "rose")
        visitor.page.get_by_label("Find a flower").fill("papav")
        assert visitor.page.get_by_role("checkbox").count() == 1
        assert visitor.page.locator("#announcer").inner_text() == "One flower."
        visitor.page.get_by_role("checkbox", name="poppy").check()
        # Of what the model said: nothing is asked anew, neither of the model nor of a server.
        assert visitor.answers(3) == AMONG_TWO
        assert asked(visitor) == []
        assert summary(visitor) == "Asked about 2 of 14 flowers only: poppy and rose"
        said = visitor.page.locator("#announcer").inner_text()
        assert said == "Asked about 2 of 14 flowers only: poppy and rose. 3 pictures are answered again."
        assert visitor.page.url == f"{address}/?from=mail&only=poppy,rose"
        visitor.page.reload()
        visitor.open(visitor.page.url)
        visitor.drop(PICTURES)
        assert visitor.answers(3) == AMONG_TWO
        visitor.page.locator("#only-summary").click()
        visitor.page.get_by_role("button", name="Ask about all of them").click()
        assert visitor.answers(3) == ANSWERS
        assert visitor.page.url == f"{address}/?from=mail"
        assert visitor.page.evaluate("document.activeElement.id") == "only-summary"


def test_an_address_that_asks_about_what_is_none_is_told(browser, address):
    with visit(browser) as visitor:
        visitor.open(f"{address}/?only=lily%20of%20the%20valley,dasy")
        assert summary(visitor) == "Asked about 1 of 14 flowers only: lily of the valley"
        assert visitor.page.get_by_text("The address asks about dasy, which I do not know.").is_visible()
        visitor.open(f"{address}/?only=dasy")
        assert summary(visitor) == "It knows 14 flowers: ask about some of them only"
        choose(visitor, "daisy")
        assert not visitor.page.get_by_text("The address asks about").is_visible()


def test_a_model_without_the_output_known_is_as_sure_as_its_largest_probability(browser, tmp_path):
    site = export_site(tmp_path / "site", write_garden(tmp_path / "before.onnx", known=False))
    with host(site) as url, visit(browser) as visitor:
        visitor.open(url)
        visitor.drop(PICTURES)
        assert set(visitor.answers(3).values()) == {
            "Iris: 90.9\xa0% sure",
            "Rose: 90.9\xa0% sure",
            "Wallflower: 90.9\xa0% sure",
        }
        assert visitor.page.locator(".picture i").count() == 0
        assert visitor.faults == []


def test_the_server_answers_the_same(browser, model):
    with flowers_serve(model=model) as (url, _), visit(browser) as visitor:
        visitor.open(url)
        if runtime.is_there():
            visitor.page.get_by_role("switch", name="Use the server").check()
        visitor.requests.clear()
        visitor.drop(PICTURES)
        assert visitor.answers(3) == ANSWERS
        assert len(asked(visitor)) == 3
        choose(visitor, "rose", "poppy")
        assert visitor.answers(3) == AMONG_TWO
        assert len(asked(visitor)) == 3


def test_the_page_of_a_restricted_server_offers_no_other_flower(browser, model):
    with flowers_serve("--only", "rose,poppy", model=model) as (url, _), visit(browser) as visitor:
        visitor.open(f"{url}?only=iris")
        assert summary(visitor) == "It answers about 2 flowers: ask about some of them only"
        assert visitor.page.get_by_text("The address asks about iris, which I do not know.").is_visible()
        visitor.page.locator("#only-summary").click()
        assert visitor.page.get_by_role("checkbox").count() == 2 < len(NAMES)
        for on_server in (False, True) if runtime.is_there() else (True,):
            visitor.page.get_by_role("switch", name="Use the server").set_checked(on_server)
            visitor.drop(PICTURES)
            assert visitor.answers(3) == AMONG_TWO
            visitor.page.get_by_role("button", name="Clear all").click()
