"""What decoders of a service may take together: a picture that needs more than is left waits, and others go before."""

from __future__ import annotations

import pytest
from PIL import Image
from support.hostile_pictures import saved

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from flowercli.inference.memory import DECODERS, MOST_A_PICTURE, SMALL, Memory, NoRoomError, limit_decoders
from flowercli.inference.preprocess import load_picture
from flowercli.serving.http.service import open_classifier
from flowercli.serving.http.settings import Settings


@pytest.fixture
def limited():
    some = Memory()
    some.limit(100_000_000)
    return some


def test_what_does_not_fit_is_told_when_it_may(limited):
    told = []
    with limited.taken(60_000_000):
        with pytest.raises(NoRoomError), limited.taken(60_000_000):
            raise AssertionError
        with limited.taken(SMALL - 1), limited.taken(40_000_000):
            pass
        limited.tell_when_freed(lambda: told.append("later"))
        assert (told, limited.waiting) == ([], 1)
    assert (told, limited.waiting) == (["later"], 0)
    limited.tell_when_freed(lambda: told.append("at once"))
    assert told == ["later", "at once"]


def test_what_needs_more_than_all_works_alone(limited):
    with limited.taken(300_000_000), pytest.raises(NoRoomError), limited.taken(SMALL):
        raise AssertionError


def test_without_a_limit_all_fits():
    some = Memory()
    with some.taken(10**12), some.taken(10**12):
        pass


def test_threads_share_what_one_picture_may_take():
    large, spec = saved(Image.new("RGB", (5000, 5000), "green"), "PNG"), open_classifier(Settings()).spec
    try:
        for threads, factor in ((1, 1), (4, 1), (16, 4)):
            limit_decoders(threads)
            with DECODERS.taken(factor * MOST_A_PICTURE), pytest.raises(NoRoomError):
                load_picture(large, spec)
    finally:
        DECODERS.limit(10**12)
