"""Rows in columns: a photograph of millions takes some ninety bytes, where objects of Python take over three hundred.

A column is a sequence that only grows. Values that are of one size or that repeat are packed; what is asked for is made
again when it is asked for.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

V = TypeVar("V")
# What a byte can number.
FEW = 2**8
# A path may hold halves of characters: bytes of a name that are no UTF-8.
HALVES = "surrogatepass"


class Column(Sequence[V]):
    """A sequence of values, as equal to another one with the same values as a list would be."""

    @overload
    def __getitem__(self, place: int) -> V: ...
    @overload
    def __getitem__(self, place: slice) -> Self: ...
    def __getitem__(self, place: int | slice) -> V | Self:
        """Return a value, or some of them in a column of their own."""
        if isinstance(place, slice):
            places = range(len(self))[place]
            return self if len(places) == len(self) and places.step == 1 else self.take(places)
        return self.value(range(len(self))[place])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # It grows.

    def __add__(self, other: Sequence[V]) -> Self:
        """Return those of both; where there are no others, the column itself."""
        if not other:
            return self
        both = self.take(range(len(self)))
        both.extend(other)
        return both

    def take(self, places: Sequence[int]) -> Self:
        """Return the values at some places in a column of their own."""
        taken = self.empty()
        taken.extend(map(self.value, places))
        return taken

    def extend(self, values: Iterable[V]) -> None:
        """Add values."""
        for value in values:
            self.append(value)

    def append(self, value: V) -> None:
        """Add a value."""
        raise NotImplementedError

    def value(self, place: int) -> V:
        """Return that at a place from 0 on."""
        raise NotImplementedError

    def empty(self) -> Self:
        """Return a column of its kind without values."""
        return type(self)()


class Texts(Column[str]):
    """Texts of which each is another: UTF-8, end to end."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.utf8, self.ends = bytearray(), array("Q", [0])
        self.extend(texts)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[str]:
        return (self.utf8[start:end].decode("utf-8", HALVES) for start, end in pairwise(self.ends))

    def append(self, text: str) -> None:
        """Add a text."""
        self.utf8 += text.encode("utf-8", HALVES)
        self.ends.append(len(self.utf8))

    def value(self, place: int) -> str:
        """Return that at a place from 0 on."""
        return self.utf8[self.ends[place] : self.ends[place + 1]].decode("utf-8", HALVES)


class Repeated(Column[str]):
    """Texts of which there are few different ones: ``values``, and for each text its place among these."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.places, self.values, self._place_of = array("B"), list[str](), dict[str, int]()
        self.extend(texts)

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[str]:
        return map(self.values.__getitem__, self.places)

    def append(self, text: str) -> None:
        """Add a text."""
        place = self.place_of(text)  # It may make the places wider.
        self.places.append(place)

    def place_of(self, text: str) -> int:
        """Return its place among the values; it is one from now on."""
        place = self._place_of.setdefault(text, len(self.values))
        if place == len(self.values):
            self.values.append(text)
            if place == FEW:
                self.places = array("I", self.places)
        return place

    def extend_repeated(self, values: Sequence[str], places: npt.NDArray[np.integer[Any]]) -> None:
        """Add texts, given as different ones and the place ``[N]`` of each among these."""
        ours = [self.place_of(value) for value in values]
        if len(places):
            self.places.frombytes(np.array(ours, dtype=self.places.typecode)[places].tobytes())

    def value(self, place: int) -> str:
        """Return that at a place from 0 on."""
        return self.values[self.places[place]]


class Packed(Column[V]):
    """Values of one size, each packed by ``struct``.

    Args:
        form: of :mod:`struct`.
        pack: what of a value is packed by it.
        unpack: makes the value of that.
    """

    def __init__(self, form: str, pack: Callable[[V], tuple[Any, ...]], unpack: Callable[..., V]) -> None:
        self.form, self.pack, self.unpack = form, pack, unpack
        self.content = bytearray()

    def __len__(self) -> int:
        return len(self.content) // struct.calcsize(self.form)

    def __iter__(self) -> Iterator[V]:
        return (self.unpack(*fields) for fields in struct.iter_unpack(self.form, self.content))

    def append(self, value: V) -> None:
        """Add a value."""
        self.content += struct.pack(self.form, *self.pack(value))

    def value(self, place: int) -> V:
        """Return that at a place from 0 on."""
        return self.unpack(*struct.unpack_from(self.form, self.content, place * struct.calcsize(self.form)))

    def empty(self) -> Self:
        """Return a column of its kind without values."""
        return type(self)(self.form, self.pack, self.unpack)


def _from_hex(text: str) -> tuple[bytes]:
    return (bytes.fromhex(text),)


def digests() -> Packed[str]:
    """Return a column of sha256, each 64 digits."""
    return Packed("32s", _from_hex, bytes.hex)


def perceptual_hashes(values: Iterable[int | None] = ()) -> Packed[int | None]:
    """Return a column of perceptual hashes, some of which may not be known."""
    column = Packed[int | None]("<?Q", _or_zero, _unless_unknown)
    column.extend(values)
    return column


def _or_zero(value: int | None) -> tuple[bool, int]:
    return value is not None, value or 0


def _unless_unknown(known: bool, value: int) -> int | None:  # noqa: FBT001  (as struct gives it)
    return value if known else None


class Table(Column[V], Generic[V]):
    """Rows of several columns.

    Args:
        row: makes a row of the values of the columns, which are its attributes.
        columns: by the names of these, in the order in which ``row`` takes them, all equally long.
    """

    def __init__(self, row: Callable[..., V], **columns: Column[Any]) -> None:
        self.row, self.columns = row, columns
        self._values = attrgetter(*columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __iter__(self) -> Iterator[V]:
        return map(self.row, *self.columns.values())

    def append(self, row: V) -> None:
        """Add a row."""
        for column, value in zip(self.columns.values(), self._values(row), strict=True):
            column.append(value)

    def value(self, place: int) -> V:
        """Return that at a place from 0 on."""
        return self.row(*(column.value(place) for column in self.columns.values()))

    def take(self, places: Sequence[int]) -> Self:
        """Return the rows at some places in a table of their own."""
        return type(self)(self.row, **{name: column.take(places) for name, column in self.columns.items()})

    def empty(self) -> Self:
        """Return a table of its kind without rows."""
        return type(self)(self.row, **{name: column.empty() for name, column in self.columns.items()})


def keys_of(texts: Collection[str]) -> npt.NDArray[np.int64]:
    """Return eight bytes for each text, the same for the same and hardly ever for others: ``[N]``, of this process."""
    return np.fromiter(map(hash, texts), np.int64, len(texts))


def repeated(keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return where the keys ``[N]`` are that are there more than once, in order."""
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    same = in_order[1:] == in_order[:-1]
    found = np.zeros(len(keys), dtype=bool)
    found[order[1:][same]] = found[order[:-1][same]] = True
    return np.flatnonzero(found)
