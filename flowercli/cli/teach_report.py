"""How ``flowers teach`` tells what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.cli.output import note, stdout_console
from flowercli.inference.classifier import in_words
from flowercli.shown import counted, in_shell, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowercli.teaching.report import Cost, Report, TaughtFlower

# Above it, more photographs are said to help little; below, that they are wanted.
ENOUGH, WORTH_IT, FEW = 0.97, 0.02, 5
NAMED = 3


def show(report: Report) -> None:
    """Print the report in words, and the next command."""
    console = stdout_console()
    for line in lines(report):
        console.print(line, markup=False, soft_wrap=True)
    note("Measured on photographs that were left out of the teaching, one at a time.")
    note(f"Ask it: flowers classify PHOTO --model {in_shell(report.output)}")


def lines(report: Report) -> Iterator[str]:
    """Yield what is told."""
    for flower in report.flowers:
        yield from _flower(flower)
    for name in report.untaught:
        yield f"{in_words(name)}: forgotten, what was taught of it."
    for name in report.forgotten:
        yield f"{in_words(name)}: is not answered any more; the model was trained on it, so it is masked, not unlearnt."
    yield from _cost(report.cost)
    yield f"{report.output}: {report.model} with {counted(report.classes, 'flower')}."


def _flower(flower: TaughtFlower) -> Iterator[str]:
    new = "" if flower.is_new else " (a better idea of it)"
    yield f"{in_words(flower.name)}{new}: {flower.right} of {counted(flower.photos, 'photograph')} right."
    for path, why in flower.unreadable:
        yield f"  {path} cannot be read: {why}"
    for path, first in flower.copies:
        yield f"  {path} is a copy of {first}, or nearly: they count once."
    if flower.confused:
        yield f"  Taken for {_named(flower.confused)}."
    yield f"  Kept, not refused: {flower.kept} of {flower.photos}."
    yield f"  {_more(flower)}"


def _more(flower: TaughtFlower) -> str:
    if flower.photos < FEW:
        return f"{counted(flower.photos, 'photograph')} are few: five to ten would make it surer."
    share = flower.right / flower.photos
    if flower.half is None or flower.twice is None:
        return "Ten photographs would make it surer."
    said = f"With half of them {percent(flower.half, 0)} were right"
    if share >= ENOUGH or flower.twice - share < WORTH_IT:
        return f"{said}: more would help little."
    return f"{said}: with twice as many perhaps {percent(flower.twice, 0)} would be."


def _cost(cost: Cost) -> Iterator[str]:
    if not cost.photos:
        return
    before, now = (percent(count / cost.photos) for count in cost.right)
    taken = f"; taken for {_named(cost.taken)}" if cost.taken else ""
    photographs = f"{cost.right[1]:,} of {counted(cost.photos, 'photograph')} right, {now}; {before} before"
    yield f"The flowers of before: {photographs}{taken}."
    kept_before, kept = (percent(count / cost.photos) for count in cost.kept)
    yield f"Kept of them, not refused: {kept}; {kept_before} before."
    if cost.others:
        refused_before, refused = (percent(count / cost.others) for count in cost.refused)
        yield f"Refused of {counted(cost.others, 'picture')} without a flower: {refused}; {refused_before} before."


def _named(counts: Mapping[str, int]) -> str:
    shown = [f"{in_words(name)} {count}" for name, count in list(counts.items())[:NAMED]]
    return ", ".join(shown) + (", …" if len(counts) > NAMED else "")
