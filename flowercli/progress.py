"""How long work tells how far it has come: it calls a function that whoever asked for it has given."""

from __future__ import annotations

from typing import Protocol


class Advance(Protocol):
    """Called as parts of the work are done, from any thread."""

    def __call__(self, step: str, parts: int, done: int = 1, /) -> None:
        """Take note of progress.

        Args:
            step: what is being done, as a person may read it.
            parts: how many parts it has, or bytes; 0 where that is not known.
            done: how many more of them are done; 0 says that it begins.
        """


def untold(_step: str, _parts: int, _done: int = 1, /) -> None:
    """Tell nobody."""
