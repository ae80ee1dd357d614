"""Bodies share their room: those that stop, or come a byte at a time, give it to others, whatever they hold."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("starlette", reason="needs the extra 'serve'")

from flowercli.serving import arriving
from flowercli.serving.arriving import Arrivals
from flowercli.serving.http.problems import Problem

KIBI = 1024


def sent(*pieces, pause=0.0, whole=True):
    """Return a client's pieces as ASGI has them; after the last one, if that is not the whole, it sends nothing."""
    waiting = list(pieces)

    async def receive():
        await asyncio.sleep(pause)
        if not waiting:
            await asyncio.Event().wait()
        size = waiting.pop(0)
        return {"type": "http.request", "body": bytes(size), "more_body": bool(waiting) or not whole}

    return receive


def test_one_that_drips_gives_way_to_one_that_holds_more(monkeypatch):
    monkeypatch.setattr(arriving, "SLOW_SECONDS", 0.1)
    arrivals = Arrivals(most=100 * KIBI, held=100 * KIBI, seconds=30)

    async def ask():
        dripping = asyncio.create_task(arrivals.read(sent(40 * KIBI, *[1] * 100, pause=0.02)))
        await asyncio.sleep(0.2)
        body = await arrivals.read(sent(32 * KIBI, 32 * KIBI))
        assert body.size == 64 * KIBI
        with pytest.raises(Problem) as told:
            await dripping
        assert told.value.status == 503
        body.release()
        # All is given back.
        assert (await arrivals.read(sent(100 * KIBI))).size == 100 * KIBI

    asyncio.run(ask())


def test_one_that_goes_on_gives_way_only_to_those_that_hold_less_with_it():
    arrivals = Arrivals(most=100 * KIBI, held=100 * KIBI, seconds=30)

    async def ask():
        large = asyncio.create_task(arrivals.read(sent(80 * KIBI, whole=False)))
        await asyncio.sleep(0.05)
        with pytest.raises(Problem):
            await arrivals.read(sent(90 * KIBI))
        assert not large.done()
        small = await arrivals.read(sent(10 * KIBI, 15 * KIBI))
        assert small.hand_over() == bytes(25 * KIBI)
        large.cancel()

    asyncio.run(ask())
