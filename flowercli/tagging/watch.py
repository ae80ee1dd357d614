"""Pictures as they come into a folder, each when it is whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from flowercli.inference.patterns import walk

SECONDS = 2.0


def watched(folder: str, wait: Callable[[float], None] = time.sleep) -> Iterator[str]:
    """Yield the pictures below a folder and those that come, or come anew, for ever.

    A picture counts when two looks have found it of one size and time: what is being copied is not.
    """
    given: dict[str, tuple[int, int]] = {}
    before: dict[str, tuple[int, int]] = {}
    while True:
        now: dict[str, tuple[int, int]] = {}
        for path in walk(folder):
            try:
                status = os.stat(path)
            except OSError:  # It has gone, or is a link that leads nowhere.
                continue
            state = now[path] = status.st_size, status.st_mtime_ns
            if before.get(path) == state != given.get(path):
                given[path] = state
                yield path
        given = {path: state for path, state in given.items() if path in now}
        before = now
        wait(SECONDS)
