"""Whose picture is next: requests take turns, and large pictures that memory does not hold now wait for each other."""

from __future__ import annotations

import asyncio
from functools import cache

import pytest
from PIL import Image
from support.hostile_pictures import saved
from support.serve_server import PICTURE

from flowercli.inference import memory
from flowercli.inference.memory import DECODERS
from flowercli.serving.http.problems import Problem
from flowercli.serving.http.service import Service, open_classifier
from flowercli.serving.http.settings import Limits, Settings

QUEUE = 32


@cache
def large_picture():
    """Return a picture of 25 megapixels, so of a hundred megabytes."""
    return saved(Image.new("RGB", (5000, 5000), "green"), "PNG")


# Each picture alone, and gathered.
BOTH_WAYS = pytest.mark.parametrize("service", [None, 8], indirect=True)


@pytest.fixture
def service(monkeypatch, request):
    monkeypatch.setattr(memory, "MOST_A_PICTURE", 150_000_000)
    batch_size = getattr(request, "param", None)
    settings = Settings(threads=2, batch_size=batch_size, limits=Limits(queue=QUEUE, wait=60), drain_seconds=1)
    running = Service(open_classifier(settings), settings)
    running.start()
    yield running
    running.stop()
    DECODERS.limit(10**12)


async def answer(service, *pictures):
    outcomes = await service.workers.answer(pictures, service.classifier)
    assert all(outcome.prediction.class_index >= 0 for outcome in outcomes)


async def are_put_back(count):
    while DECODERS.waiting < count:  # noqa: ASYNC110  (threads change it)
        await asyncio.sleep(0.01)


def test_a_request_of_one_picture_waits_for_none_of_many(service):
    async def ask_all():
        many = [asyncio.create_task(answer(service, *[PICTURE] * QUEUE))]
        await asyncio.sleep(0)
        # Of many pictures, as many count as have their turn before: a second such request is one too many.
        with pytest.raises(Problem, match="waiting already") as full:
            await answer(service, *[PICTURE] * QUEUE)
        assert full.value.status == 429
        for _ in range(3):
            await answer(service, PICTURE)
        assert not many[0].done()
        await asyncio.gather(*many)

    asyncio.run(ask_all())


@BOTH_WAYS
def test_large_pictures_are_answered_one_after_the_other_and_small_ones_meanwhile(service):
    async def ask_all():
        # As another thread would that decodes.
        with DECODERS.taken(100_000_000):
            large = [asyncio.create_task(answer(service, large_picture())) for _ in range(3)]
            await are_put_back(3)
            await answer(service, PICTURE)
            assert not any(task.done() for task in large)
        await asyncio.gather(*large)

    asyncio.run(ask_all())
    assert DECODERS.waiting == 0


@BOTH_WAYS
def test_pictures_that_were_put_back_are_answered_in_their_places(service):
    async def ask():
        with DECODERS.taken(100_000_000):
            mixed = asyncio.create_task(
                service.workers.answer([large_picture(), PICTURE, large_picture(), PICTURE], service.classifier, 1)
            )
            await are_put_back(2)
        return [outcome.prediction.predicted_class for outcome in await mixed]

    large, rose, *others = asyncio.run(ask())
    assert rose == "rose" != large
    assert others == [large, rose]
