"""What long work shows of itself: on a terminal, on stderr, from its second second on; elsewhere nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread, Timer
from typing import Any, Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from flowercli.cli.output import note, stderr_console
from flowercli.progress import Advance, untold

# What is done sooner shows nothing: a line that flashes tells nobody anything.
SECONDS = 1.0
SAY_EVERY = 30
BAR_WIDTH = 20
# So many a second have a digit behind the point.
SLOW = 10


class LateProgress(Progress):
    """rich's display on stderr, which begins late, goes when the work ends or is stopped, and leaves stdout alone."""

    def __init__(self, *columns: ProgressColumn, seconds: float | None = None) -> None:
        console = stderr_console()
        # What is printed on stdout meanwhile goes where it always goes: rich would write it to this display's terminal.
        super().__init__(
            *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_interactive
        )
        self._timer = Timer(SECONDS if seconds is None else seconds, super().start)
        self._timer.daemon = True

    def start(self) -> None:
        """Begin soon."""
        if not self.disable:
            self._timer.start()

    def stop(self) -> None:
        """End, with the cursor back, or never begin."""
        self._timer.cancel()
        if self._timer.is_alive():
            self._timer.join()
        if self.live.is_started:
            super().stop()


class Parts(MofNCompleteColumn):
    """How many parts of how many; nothing where that is not known."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        return Text() if task.total is None else super().render(task)


class TimeLeft(TimeRemainingColumn):
    """The time left, or where it cannot be known, how long it has been."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        return TimeElapsedColumn().render(task) if task.total is None else super().render(task)


class Bar(BarColumn):
    """A bar; where it is not known how many there are, something that turns."""

    def __init__(self) -> None:
        super().__init__(BAR_WIDTH)
        self._turning = SpinnerColumn()

    def render(self, task: Task) -> Any:
        """Return what is shown."""
        return self._turning.render(task) if task.total is None else super().render(task)


class Count(ProgressColumn):
    """How many, of how many where that is known, and of what."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        total = "" if task.total is None else f"/{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{total} {task.description}")


class Speed(ProgressColumn):
    """How many a second, of late."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        return Text("" if task.speed is None else f"{task.speed:,.{int(task.speed < SLOW)}f}/s")


def bars(*columns: ProgressColumn, seconds: float | None = None) -> LateProgress:
    """Return a display of a bar a task, with its description, these columns, and the time left, after some seconds."""
    description = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    return LateProgress(description, BarColumn(BAR_WIDTH), *columns, TimeLeft(), seconds=seconds)


class OneBar:
    """One bar after the other, as long as a block runs; :func:`bars` says what the arguments are."""

    def __init__(self, *columns: ProgressColumn, seconds: float | None = None) -> None:
        self._bars = bars(*columns, seconds=seconds)
        self._task = self._bars.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _begin(self, what: str, total: float | None) -> None:
        # A task that has a total keeps one: each has its own.
        self._bars.remove_task(self._task)
        self._task = self._bars.add_task(what, total=total)


class Steps(OneBar):
    """Shows the steps of some work, one at a time: its ``advance`` is a :class:`flowercli.progress.Advance`."""

    def __init__(self, *columns: ProgressColumn, seconds: float | None = None) -> None:
        super().__init__(*columns, seconds=seconds)
        self._step, self._left, self._lock = "", 0, Lock()

    def advance(self, step: str, parts: int, done: int = 1, /) -> None:
        """Move the bar of a step, which goes once it is full or another step begins."""
        with self._lock:
            if step != self._step:
                self._begin(step, parts or None)
                self._step, self._left = step, parts
            self._left -= done
            is_full = parts > 0 and self._left <= 0
            self._bars.update(self._task, advance=done, visible=not is_full)
            if is_full:  # The same may be done again, of others.
                self._step = ""


@contextmanager
def advancing() -> Iterator[Advance]:
    """Yield what long work is to call: it shows what is counted, with the time left."""
    with _steps(Parts()) as advance:
        yield advance


@contextmanager
def advancing_bytes() -> Iterator[Advance]:
    """Yield the same for bytes, with their speed."""
    with _steps(DownloadColumn(), TransferSpeedColumn()) as advance:
        yield advance


@contextmanager
def _steps(*columns: ProgressColumn) -> Iterator[Advance]:
    if not stderr_console().is_interactive:
        yield untold
        return
    with Steps(*columns) as steps:
        yield steps.advance


@contextmanager
def counting(
    what: str, before: int = 0, how_many: Callable[[], int | None] = lambda: None
) -> Iterator[Callable[[], None]]:
    """Yield a function that counts what is done, and show how fast.

    Args:
        what: is counted.
        before: how many were done by an earlier run.
        how_many: says how many there are in all, on a thread of its own; from then on the time left is shown.
    """
    with LateProgress(Bar(), Count(), Speed(), TimeLeft()) as progress:
        task = progress.add_task(what, total=None, completed=before)

        def find() -> None:
            total = how_many()
            # Fewer than were done before: those were others.
            progress.update(task, total=total if total is None or total >= before else None)

        if not progress.disable:
            Thread(target=find, name="count", daemon=True).start()
        yield lambda: progress.advance(task)


def every_half_minute(doing: str) -> Callable[[float], None]:
    """Return what is called with the seconds that something has been going on: where there is no terminal, it says so.

    On one there is the display.
    """
    said = 0.0

    def tick(seconds: float) -> None:
        nonlocal said
        if seconds >= said + SAY_EVERY and not stderr_console().is_terminal:
            said = seconds
            note(f"{doing}: {int(seconds) // 60}:{int(seconds) % 60:02}")

    return tick


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is waited for; on a terminal, show it until it is over."""
    console = stderr_console()
    if console.is_terminal:
        with console.status(f"{what} …"):
            yield
    else:
        note(f"{what} …")
        yield
