"""What decoders of a service may take together: a picture that needs more than is left waits, and others go before."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image
from serve_server import PICTURE

from flowercli.inference import memory
from flowercli.inference.memory import DECODERS, MOST_A_PICTURE, SMALL, Memory, NoRoomError, limit_decoders
from flowercli.inference.preprocess import load_picture
from flowercli.serving.http.service import Service, open_classifier
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


@pytest.fixture
def large_picture():
    """Return a picture of 25 megapixels, and so of a hundred megabytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (5000, 5000), "green").save(buffer, "PNG")
    return buffer.getvalue()


def test_large_pictures_are_answered_one_after_the_other_and_small_ones_meanwhile(large_picture, monkeypatch):
    settings = Settings(threads=2, drain_seconds=1)
    service = Service(open_classifier(settings), settings)
    monkeypatch.setattr(memory, "MOST_A_PICTURE", 150_000_000)
    try:
        service.start()

        async def ask_all():
            # As another thread would that decodes.
            with DECODERS.taken(100_000_000):
                large = [asyncio.create_task(answer(large_picture)) for _ in range(3)]
                await answer(PICTURE)
                assert not any(task.done() for task in large)
                assert DECODERS.waiting == 3
            await asyncio.gather(*large)

        async def answer(picture):
            outcome = (await service.workers.answer([picture], service.classifier))[0]
            assert outcome.prediction.class_index >= 0

        asyncio.run(ask_all())
        assert DECODERS.waiting == 0
    finally:
        service.stop()
        DECODERS.limit(10**12)


def test_threads_share_what_one_picture_may_take(large_picture):
    try:
        for threads, factor in ((1, 1), (4, 1), (16, 4)):
            limit_decoders(threads)
            with DECODERS.taken(factor * MOST_A_PICTURE), pytest.raises(NoRoomError):
                load_picture(large_picture, open_classifier(Settings()).spec)
    finally:
        DECODERS.limit(10**12)
