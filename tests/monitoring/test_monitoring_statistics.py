"""The statistics of drift against known values, other implementations, and what they promise by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowercli.monitoring.statistics import (
    answers_needed,
    bin_counts,
    holm,
    index_test,
    quantile_edges,
    stability_index,
)


def test_stability_index_is_that_of_the_formula():
    # Shares of 0.2 and 0.8 against 0.5 and 0.5, so many that the half answer a bin does not show.
    expected = 0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5)
    found = stability_index(np.array([500_000, 500_000]), np.array([200_000, 800_000]))
    assert found == pytest.approx(expected, rel=1e-4)
    assert stability_index(np.array([7, 7]), np.array([3, 3])) == pytest.approx(0)
    assert math.isfinite(stability_index(np.array([10, 0]), np.array([0, 10])))


def test_index_test_agrees_with_scipys_test_of_independence():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(1)
    for _ in range(8):
        reference = generator.multinomial(200, [0.2] * 5)
        current = generator.multinomial(300, [0.26, 0.18, 0.2, 0.17, 0.19])
        theirs = stats.chi2_contingency(np.array([reference, current]), lambda_="log-likelihood").pvalue
        assert index_test(reference, current, generator).p == pytest.approx(theirs, abs=0.04)


def test_p_values_are_uniform_where_nothing_has_changed():
    generator = np.random.default_rng(2)
    p_values = []
    for _ in range(300):
        reference, current = generator.normal(size=60), generator.normal(size=100)
        edges = quantile_edges(reference, current)
        counts = bin_counts(reference, edges), bin_counts(current, edges)
        p_values.append(index_test(*counts, generator).p)
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.045)
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.08)


def test_index_is_corrected_for_small_samples():
    generator = np.random.default_rng(3)
    shares = np.full(10, 0.1)
    tests = [
        index_test(generator.multinomial(100, shares), generator.multinomial(100, shares), generator) for _ in range(60)
    ]
    # Without any change the plain index is at its first usual limit, or above it.
    assert np.mean([test.raw for test in tests]) > 0.15
    assert np.mean([test.value for test in tests]) < 0.05
    assert np.mean([test.low == 0 for test in tests]) > 0.9


def test_interval_holds_the_true_index():
    generator = np.random.default_rng(4)
    before, now = np.full(5, 0.2), np.array([0.1, 0.15, 0.2, 0.25, 0.3])
    true = float(((now - before) * np.log(now / before)).sum())
    tests = [
        index_test(generator.multinomial(200, before), generator.multinomial(200, now), generator) for _ in range(100)
    ]
    assert np.mean([test.low <= true <= test.high for test in tests]) >= 0.9


def test_equal_values_share_a_bin():
    values = np.array([1.0] * 50 + [2.0] * 50)
    edges = quantile_edges(values, values)
    assert edges.tolist() == [2.0]
    assert bin_counts(values, edges).tolist() == [50, 50]
    same = np.ones(40)
    assert len(quantile_edges(same, same)) == 0
    assert index_test(np.array([40]), np.array([40]), np.random.default_rng(0)).p == 1.0


def test_holm_is_that_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_needed_answers_are_enough_and_not_too_many():
    needed = answers_needed(300, 5, 0.25, 0.01)
    before = np.full(5, 0.2)
    generator = np.random.default_rng(8)
    # Shares that differ by an index of 0.25.
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        now = before * np.exp(middle * np.arange(-2, 3))
        now /= now.sum()
        low, high = (middle, high) if ((now - before) * np.log(now / before)).sum() < 0.25 else (low, middle)
    p_values = [
        index_test(generator.multinomial(300, before), generator.multinomial(needed, now), generator).p
        for _ in range(150)
    ]
    assert np.mean(np.array(p_values) < 0.01) == pytest.approx(0.8, abs=0.1)
    assert answers_needed(20, 5, 0.25, 0.01) is None
