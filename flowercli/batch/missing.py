"""What a run has to answer: the parts that miss their answers, while the plan is read, or written, or another's."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from glob import has_magic
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TextIO

from flowercli import locks
from flowercli.batch.asked import check_same, deciding
from flowercli.batch.part import not_fetched
from flowercli.batch.places import listed
from flowercli.batch.plan import FOLDER, VERSION, Plan
from flowercli.errors import BatchError, UsageError
from flowercli.inference.sources import STDIN, anywhere, is_elsewhere
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier

# How often a run looks for what another one plans, and how long it does so in vain.
LOOK_SECONDS, PATIENCE_SECONDS = 2.0, 600.0
HINT = "Ask as they were asked, or give another --out."


class Shard(NamedTuple):
    """One of several runs that share the parts among them: ``number`` ``of`` so many, from 1. The first plans."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``3/64``.

        Raises:
            UsageError: it is no such pair.
        """
        number, _, count = text.partition("/")
        if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise UsageError(f"--shard {text}: no part of a whole.", hint="--shard 3/64   (the third of 64 runs)")

    def has(self, part: int) -> bool:
        """Tell whether a part is this run's."""
        return part % self.of == self.number - 1


def asked(
    classifier: Classifier, given: Sequence[str], *, top_k: int, only: str | None, part_size: int
) -> dict[str, Any]:
    """Return what ``run.json`` records: what decides the answers, and what was to be listed."""
    return {
        "version": VERSION,
        **deciding(classifier, top_k=top_k, only=only),
        "part_size": part_size,
        "sources": [anywhere(argument) for argument in given],
        "listed": False,
    }


def missing(
    plan: Plan,
    wanted: dict[str, Any],
    stdin: TextIO,
    shard: Shard,
    *,
    add: bool,
    retry: bool,
    waiting: Callable[[str], None],
) -> Iterator[int]:
    """Yield the number of each part of a shard that has no answers, as soon as it is planned.

    The first run writes the plan, on a thread of its own; a run that was killed in the middle of that is gone on with.

    Args:
        plan: of the place of the answers.
        wanted: from :func:`asked`.
        stdin: where ``-`` is among the sources.
        shard: this run's share. Any but the first reads what the first plans.
        add: list again, and append what is not planned yet.
        retry: answer anew the parts with photographs that could not be fetched.
        waiting: is told what is waited for.

    Raises:
        UsageError: there are answers of another kind, or of other places.
        BatchError: a place cannot be used, or no plan comes.
    """
    settings = _settled(plan, wanted, shard, add=add)
    answered = plan.answered()
    if retry:
        answered -= not_fetched(plan, filter(shard.has, answered))
    if settings is not None and settings["listed"]:
        planned: Iterator[int] = iter(plan.parts())
    elif shard.number == 1 and not _is_planned_by_another(plan):
        planned = _planned_here(plan, settings or wanted, stdin)
    else:
        planned = _planned_elsewhere(plan, wanted, shard, waiting)
    return (number for number in planned if shard.has(number) and number not in answered)


def _settled(plan: Plan, wanted: dict[str, Any], shard: Shard, *, add: bool) -> dict[str, Any] | None:
    """Return what ``run.json`` holds now, which the first shard sees to; ``None`` where that has not come yet."""
    found = plan.settings()
    if found is not None and not found["listed"] and shard.number == 1 and not plan.parts():
        found = None  # It came to nothing: a mistyped place, or one without pictures.
    if found is not None:
        check_same(found, wanted, plan.place.address, HINT)
        others = [source for source in wanted["sources"] if source not in found["sources"]]
        if others and not add:
            message = (
                f"{plan.place.address} was planned for {', '.join(found['sources'])}, not for {', '.join(others)}."
            )
            raise UsageError(message, hint="To append what is new: the same command with --add. Or give another --out.")
        if not add or (found["listed"] and shard.number > 1):
            return found
        wanted = {**found, "sources": [*found["sources"], *others], "listed": False}
    if shard.number > 1:
        return None
    _check_there(wanted["sources"])
    plan.write(wanted)
    return wanted


def _check_there(sources: Sequence[str]) -> None:
    """Find a mistyped place before it is planned."""
    for source in sources:
        if not is_elsewhere(source) and not has_magic(source) and not os.path.lexists(source):
            raise UsageError(f"There is nothing at {source}.")


def _listed(sources: Sequence[str], stdin: TextIO) -> Iterator[str]:
    for path in listed(sources, stdin):
        if path == STDIN:
            raise UsageError("A picture on stdin has no place in a plan.", hint="Give its path.")
        yield anywhere(path)


def _planned_here(plan: Plan, settings: dict[str, Any], stdin: TextIO) -> Iterator[int]:
    """Yield the parts that are planned, then those that a thread plans meanwhile."""
    done: queue.Queue[int | BaseException | None] = queue.Queue()

    def work() -> None:
        try:
            with _alone(plan):
                for number in plan.extend(_listed(settings["sources"], stdin), settings):
                    done.put(number)
            done.put(None)
        except BaseException as error:  # noqa: BLE001  (raised again by the consumer)
            done.put(error)

    yield from plan.parts()
    threading.Thread(target=work, name="plan", daemon=True).start()
    while (number := done.get()) is not None:
        if isinstance(number, BaseException):
            raise number
        yield number


def _alone(plan: Plan) -> AbstractContextManager[None]:
    """Keep other runs of this machine from planning; object stores have no locks."""
    folder = plan.place.folder
    return nullcontext() if folder is None else locks.alone(folder / FOLDER)


def _is_planned_by_another(plan: Plan) -> bool:
    folder = plan.place.folder
    return folder is not None and locks.is_held(folder / FOLDER)


def _planned_elsewhere(
    plan: Plan, wanted: dict[str, Any], shard: Shard, waiting: Callable[[str], None]
) -> Iterator[int]:
    """Yield the parts that another run plans, as they come, until it has listed all."""
    seen: set[int] = set()
    latest = time.monotonic()
    while True:
        settings = plan.settings()
        new = [] if settings is None else [number for number in plan.parts() if number not in seen]
        if settings is not None:
            check_same(settings, wanted, plan.place.address, HINT)
        yield from new
        seen.update(new)
        if settings is not None and settings["listed"]:
            return
        latest = time.monotonic() if new else latest
        _wait_for_plan(plan, time.monotonic() - latest, shard, waiting)


def _wait_for_plan(plan: Plan, seconds: float, shard: Shard, waiting: Callable[[str], None]) -> None:
    if seconds > PATIENCE_SECONDS:
        first = f"--shard 1/{shard.of}" if shard.of > 1 else "the first run"
        hint = f"The same command with {first} plans; what is at {in_shell(plan.place.address)} is gone on with."
        raise BatchError(f"No plan came for {seconds:.0f} seconds.", hint=hint)
    waiting("Waiting for the plan, which another run writes.")
    time.sleep(LOOK_SECONDS)
