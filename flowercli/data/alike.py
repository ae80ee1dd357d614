"""Group hashes that differ in few bits, in linear memory, also where a hundred thousand are alike (a burst, a video).

Hashes at most ``bits`` apart have all but ``bits`` of their eight bytes in common. So they are sorted once for each
choice of so many bytes, and compared within the runs that agree in these: not with all others. Hashes that are in one
group already are not compared any more, so that a run of thousands that are alike takes a few looks at each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from flowercli.data.columns import repeated

BYTES = 8
# Up to here runs are compared all at once, neighbour by neighbour; longer ones each by itself.
LONG_RUN = 256
# Members of a long run that are looked at before it is asked again which of them still have to be.
LOOKS = 64


class Groups:
    """Disjoint groups of the numbers from 0 to ``count``, each named by its smallest member; at first all are apart."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def of(self, members: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return the name of each member's group."""
        names = self._parents[members]
        while ((above := self._parents[names]) != names).any():
            self._parents[names] = self._parents[above]  # Each look halves the way for the next.
            names = above
        self._parents[members] = names
        return names

    def join(self, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> None:
        """Make one group of those of ``first[i]`` and ``second[i]``, for each i."""
        while len(first):
            one, other = self.of(first), self.of(second)
            # The smallest wins where a group is to go under several; the others take their turn.
            np.minimum.at(self._parents, np.maximum(one, other), np.minimum(one, other))
            apart = one != other
            first, second = first[apart], second[apart]


def alike(
    values: npt.NDArray[np.uint64], bits: int, sorted_once: Callable[[int], None] = lambda _of: None
) -> npt.NDArray[np.intp]:
    """Return the group of each hash: the same for those that a chain of hashes joins with ``bits`` bits a step.

    Args:
        values: ``[N]``.
        bits: how many bits two neighbours in a chain may differ in, at most seven.
        sorted_once: called after each time that they are sorted, with how often they are.
    """
    distinct, position = np.unique(values, return_inverse=True)
    groups = Groups(len(distinct))
    choices = list(itertools.combinations(range(BYTES), BYTES - bits))
    for kept in choices:
        mask = np.uint64(sum(0xFF << (8 * byte) for byte in kept))
        for run in _join_short_runs(groups, distinct, distinct & mask, bits):
            _join_long_run(groups, distinct, run, bits)
        sorted_once(len(choices))
    return groups.of(np.arange(len(distinct)))[position]


def _join_short_runs(
    groups: Groups, values: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64], bits: int
) -> list[npt.NDArray[np.intp]]:
    """Join hashes of one key that differ in few bits, and return the runs of one key that are too long for it."""
    order = repeated(keys)  # Of millions that have nothing to do with each other, few share a key.
    order = order[np.argsort(keys[order], kind="stable")]
    starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    lengths = np.diff(starts, append=len(order))
    names = groups.of(order)
    mixed = np.minimum.reduceat(names, starts) != np.maximum.reduceat(names, starts) if len(starts) else starts > 0
    short = mixed & (lengths <= LONG_RUN)
    ends = np.repeat(np.where(short, starts + lengths, 0), lengths)
    places = np.arange(len(order))
    for step in range(1, LONG_RUN):
        places = places[places + step < ends[places]]
        first, second = order[places], order[places + step]
        near = np.bitwise_count(values[first] ^ values[second]) <= bits
        groups.join(first[near], second[near])
        if not len(places):
            break
    return [order[starts[run] : starts[run] + lengths[run]] for run in np.flatnonzero(mixed & ~short)]


def _join_long_run(groups: Groups, values: npt.NDArray[np.uint64], run: npt.NDArray[np.intp], bits: int) -> None:
    for one, others in _left_to_compare(groups, run):
        near = others[np.bitwise_count(values[others] ^ values[one]) <= bits]
        groups.join(near, np.full_like(near, one))


def _left_to_compare(groups: Groups, run: npt.NDArray[np.intp]) -> Iterator[tuple[np.intp, npt.NDArray[np.intp]]]:
    """Yield members of a run, each with those to compare it with, until the others are in one group."""
    while True:
        names = groups.of(run)
        found, counts = np.unique(names, return_counts=True)
        if len(found) <= 1:
            return
        outside = np.flatnonzero(names != found[counts.argmax()])[:LOOKS]
        for place in outside:
            yield run[place], run
        run = np.delete(run, outside)
