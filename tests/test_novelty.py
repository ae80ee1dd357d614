"""Rejection by distance: known pictures pass, others do not, and the stored form is the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flowercli.errors import BundleError
from flowercli.inference.novelty import DIMENSIONS, Novelty


@pytest.fixture
def embeddings():
    generator = np.random.default_rng(0)
    subspace = generator.normal(size=(8, 64))
    known = generator.normal(size=(600, 8)) @ subspace + 0.05 * generator.normal(size=(600, 64))
    return known[:400], known[400:], generator.normal(size=(200, 64))


def test_share_of_known_passes_and_others_do_not(embeddings):
    train, known, others = embeddings
    novelty = Novelty.fit(train, known, accept=0.95)
    assert novelty.basis.shape == (DIMENSIONS, 64)
    assert np.mean([novelty.is_novel(row) for row in known]) == pytest.approx(0.05, abs=0.01)
    assert np.mean([novelty.is_novel(row) for row in others]) > 0.99


def test_distance_is_that_of_the_formula(embeddings):
    train, known, _ = embeddings
    novelty = Novelty.fit(train, known, accept=0.95)
    unit = known[0] / np.linalg.norm(known[0]) - novelty.mean
    projector = np.eye(64) - novelty.basis.T @ novelty.basis
    assert novelty.distance(known[:1])[0] == pytest.approx(np.linalg.norm(projector @ unit), abs=1e-5)


def test_stored_form_gives_the_same_distances(embeddings):
    train, known, others = embeddings
    novelty = Novelty.fit(train, known, accept=0.95)
    read = Novelty.from_json(json.loads(json.dumps(novelty.to_json())), 64)
    assert read.limit == novelty.limit
    assert (read.distance(others) == novelty.distance(others)).all()


@pytest.mark.parametrize("change", [{"mean": "x"}, {"basis": None}, {"limit": "far"}, {"mean": "AAAA"}])
def test_damaged_form_is_refused(embeddings, change):
    train, known, _ = embeddings
    stored = Novelty.fit(train, known, accept=0.95).to_json()
    with pytest.raises(BundleError, match="novelty"):
        Novelty.from_json(stored | change, 64)


def test_nothing_right_rejects_everything_far(embeddings):
    train, known, _ = embeddings
    assert Novelty.fit(train, known[:0], accept=0.95).limit == 1.0
