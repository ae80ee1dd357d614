"""Near copies: the groups are those that comparing all pairs gives, and many that are alike take no more than few."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict

import numpy as np
import pytest

from flowercli.data.alike import alike
from flowercli.data.duplicates import connected, near_groups

DRAW = np.random.default_rng(0)


def flipped(count, most, least=0):
    """Hashes in which so many bits are set."""
    flips = np.zeros(count, np.uint64)
    for place in range(most):
        bit = np.uint64(1) << DRAW.integers(0, 64, count, dtype=np.uint64)
        flips ^= np.where(place < DRAW.integers(least, most + 1, count), bit, np.uint64(0))
    return flips


def by_all_pairs(values, bits):
    near = np.bitwise_count(values[:, None] ^ values[None, :]) <= bits
    group = np.arange(len(values))
    while True:
        lower = np.where(near, group[None, :], len(values)).min(axis=1)
        if (lower == group).all():
            return parts(group)
        group = lower


def parts(groups):
    members = defaultdict(list)
    for member, group in enumerate(groups.tolist()):
        members[group].append(member)
    return sorted(members.values())


@pytest.mark.parametrize("bits", [0, 1, 4, 7])
@pytest.mark.parametrize(
    "values",
    [
        pytest.param(flipped(600, 7, 7), id="sphere"),
        pytest.param(flipped(600, 9), id="ball"),
        pytest.param(DRAW.integers(0, 2**16, 500, dtype=np.uint64), id="one_end"),
        pytest.param(DRAW.integers(0, 2**32, 700, dtype=np.uint64) << np.uint64(32), id="long_run"),
        pytest.param(np.bitwise_xor.accumulate(flipped(500, 2, 2)), id="chain"),
        pytest.param(DRAW.integers(0, 2**64, 300, dtype=np.uint64), id="strange"),
        pytest.param(np.full(50, 2**64 - 1, np.uint64), id="same"),
    ],
)
def test_groups_are_those_of_all_pairs(values, bits):
    assert parts(alike(values, bits)) == by_all_pairs(values, bits)


def test_photographs_without_a_hash_are_in_no_group():
    assert near_groups([31, None, 2**63, None, 15, 2**63]) == [[0, 4], [2, 5]]
    assert near_groups([None]) == []


@pytest.mark.parametrize("kind", ["burst", "video"])
def test_a_hundred_thousand_alike_take_seconds_and_little_memory(kind):
    flips = flipped(100_000, 6) if kind == "burst" else np.bitwise_xor.accumulate(flipped(100_000, 2, 2))
    tracemalloc.start()
    groups = alike(flips, 4)  # For minutes and gigabytes already of 4,000, were all pairs to be kept.
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (groups == 0).mean() > 0.99
    assert peak < 60 * 2**20


@pytest.mark.parametrize("step", [1, -1])
def test_a_long_chain_of_pairs_is_joined_at_once(step):
    pairs = [(place, place + 1)[::step] for place in range(99_999)][::step]
    assert connected(100_001, pairs) == [list(range(100_000))]
