"""Temperature and threshold of rejection, as they are fitted on validation."""

from __future__ import annotations

import numpy as np
import pytest

from flowercli.inference.calibration import fit_temperature, rejection_threshold, softmax


def test_temperature_calibrates():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 5))
    cumulative = softmax(logits).cumsum(axis=1)
    targets = (generator.random((4000, 1)) > cumulative).sum(axis=1).clip(0, 4)
    assert fit_temperature(logits, targets) == pytest.approx(1, abs=0.08)
    assert fit_temperature(3 * logits, targets) == pytest.approx(3, abs=0.25)


def test_threshold_lets_the_share_through():
    known = np.random.default_rng(0).beta(5, 1, 1000)
    assert (known >= rejection_threshold(known, 0.9)).mean() == pytest.approx(0.9, abs=0.002)
