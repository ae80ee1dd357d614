"""How a download shows itself: a bar with speed and time left on a terminal, a line for each file elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowercli.cli.output import note, warn
from flowercli.cli.progress import OneBar, Parts, bars
from flowercli.errors import DownloadError, DownloadInterrupted

if TYPE_CHECKING:
    from flowercli.transfer.contract import Fetched

# Below so many bytes a speed says nothing.
LARGE = 1_000_000


@contextmanager
def downloading() -> Iterator[DownloadProgress]:
    """Show a download, and end it with what to do next where the user stops it.

    Raises:
        DownloadInterrupted: in place of the interrupt.
    """
    progress = DownloadProgress()
    with resumable(progress.state), progress:
        yield progress


@contextmanager
def resumable(state: Callable[[], str] = str) -> Iterator[None]:
    """End a transfer with what to do next where the user stops it; ``state`` says how far it has come.

    Raises:
        DownloadInterrupted: in place of the interrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise DownloadInterrupted(f"Interrupted{state()}.", hint="The same command goes on from there.") from None


class DownloadProgress(OneBar):
    """Listens to a download."""

    def __init__(self) -> None:
        from rich.progress import DownloadColumn, TransferSpeedColumn

        super().__init__(DownloadColumn(), TransferSpeedColumn())
        self._name = ""
        self._started = time.monotonic()
        self._done = 0
        self._total: int | None = None

    def state(self) -> str:
        """Say how far it has come, as the end of a sentence."""
        if not self._total or not self._name:
            return ""
        return f" at {self._done / 1e6:.1f} of {self._total / 1e6:.1f} MB of {self._name}"

    def waiting(self) -> None:
        """Tell that another process is at it."""
        note("Another process is downloading the same; waiting for it.")

    def fetching(self, name: str) -> None:
        """Start with a file."""
        self._name, self._started = name, time.monotonic()
        self._begin(f"Fetching {name}", None)

    def begin(self, done: int, total: int | None) -> None:
        """Go on after the bytes that are there."""
        self._done, self._total = done, total
        self._bars.update(self._task, total=total, completed=done)

    def advance(self, count: int) -> None:
        """Count bytes."""
        self._done += count
        self._bars.advance(self._task, count)

    def retry(self, fault: DownloadError, seconds: float) -> None:
        """Tell why it is tried again."""
        note(f"{fault.message} Trying again in {seconds:.1f} s.")

    def fetched(self, file: Fetched) -> None:
        """Tell that a file is there, and what is known about it."""
        seconds = max(time.monotonic() - self._started, 1e-3)
        earlier = file.size - file.received
        speed = f" in {seconds:.1f} s ({file.received / 1e6 / seconds:.1f} MB/s)" if file.received > LARGE else ""
        resumed = f", {earlier / 1e6:.1f} MB of it earlier" if earlier > 0 else ""
        known = f"{file.verified_by} as expected" if file.verified_by else "no sha256 is known for it"
        note(f"Fetched {self._name}: {_size(file.size)}{speed}{resumed}; {known}.")
        if not file.verified_by:
            warn(f"the archive could not be verified. To have the same next time: --sha256 {file.sha256}")

    def extracting(self, size: int) -> None:
        """Start to extract."""
        # Photographs hardly shrink in an archive: its own length is near enough.
        self._name = ""
        self._begin("Extracting", size)

    def extracted(self, count: int) -> None:
        """Count bytes, or photographs."""
        self._bars.advance(self._task, count)

    def checking(self, photos: int) -> None:
        """Start to read the photographs."""
        self._bars.stop()
        self._bars = bars(Parts())
        self._bars.start()
        self._task = self._bars.add_task("Reading photographs", total=photos)

    checked = extracted


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= LARGE // 10 else f"{count / 1e3:.1f} kB"
