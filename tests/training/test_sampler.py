"""Which photographs an epoch draws, and what each class weighs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'train'")

from sklearn.utils.class_weight import compute_class_weight

from flowercli.training.losses import balanced_weights
from flowercli.training.sampler import ORDERS, EpochSampler, balanced
from flowercli.training.schema import known_keys


def test_class_weights_are_those_of_scikit_learn():
    targets = np.repeat([0, 1, 2], [5, 20, 75])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    assert balanced_weights([5, 20, 75]).tolist() == pytest.approx(expected.tolist())


def test_balanced_draws_give_every_class_its_turn():
    targets = np.repeat([0, 1, 2], [4, 20, 76])
    order = balanced(targets, np.random.default_rng(0))
    assert len(order) == 100
    for start in range(0, 99, 3):
        assert sorted(targets[order[start : start + 3]]) == [0, 1, 2]
    # A class starts over only when all of it was drawn.
    assert {order.count(index) for index in range(4)} <= {8, 9}


def test_square_root_draws_are_between_the_others():
    targets = np.repeat([0, 1], [1000, 9000])
    # As 1 to 3, or to the root of 27, not 1 to 9 or 1 to 1.
    for name, share in (("square_root", 1 / 4), ("three_quarters", 1 / (1 + 27**0.5))):
        order = ORDERS[name](targets, np.random.default_rng(0))
        assert len(order) == 10_000
        assert (targets[order] == 0).mean() == pytest.approx(share, abs=0.02)
        assert max(order.count(index) for index in range(20)) <= 3


@pytest.mark.parametrize("order", known_keys()["data.sampler"])
def test_every_order_that_can_be_chosen_draws_an_epoch(order):
    assert len(list(EpochSampler([0, 1, 1, 1] * 10, 8, 7, order))) == 40


def test_sampler_goes_on_in_the_middle_of_an_epoch():
    sampler = EpochSampler([0, 1] * 25, 8, 7, "shuffle")
    whole = list(sampler)
    assert len(whole) == 48
    assert len({draw.photo for draw in whole}) == 48
    sampler.set_position(1, 2)
    assert list(sampler) == whole[16:]
    sampler.set_position(2)
    assert [draw.photo for draw in sampler] != [draw.photo for draw in whole]
    assert not {draw.seed for draw in sampler} & {draw.seed for draw in whole}
