"""What the kinds of packages agree on: what is asked of one, what writes it, and what is said of it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from flowercli.bundle import Bundle


class Options(NamedTuple):
    """What is asked for besides folders.

    ``max_drop``: points of validation accuracy that a graph may have lost against torch when it was exported; without
    it, what :meth:`Check.keeps_accuracy` allows. ``triton_backend``: what runs the graph in Triton.
    """

    max_drop: float | None = None
    triton_backend: str = "onnxruntime"


@dataclass(frozen=True)
class Packed:
    """A package as it was written: lines on what to do with it, and, where there is more to say, JSON and a table."""

    path: Path
    notes: tuple[str, ...]
    record: dict[str, Any] | None = None
    columns: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    left: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


class Package(NamedTuple):
    """One kind of package: what writes it into a new folder, and what refuses it before any work is done.

    Of ``graphs`` it has the first that is in the bundle, which is held to what was recorded when it was exported.
    """

    write: Callable[[Bundle, Path, Options], Packed]
    graphs: tuple[str, ...] = ()
    check: Callable[[Options], None] = lambda _options: None
