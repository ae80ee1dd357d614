"""The number that says how sure a model is: fitted to what it is shown, and kept as it was fitted."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from PIL import Image

from flowercli.errors import BundleError
from flowercli.evaluation.metrics import refusal
from flowercli.training.known import Known, Line, NoneLogit
from flowercli.training.typical import Typical

GENERATOR = np.random.default_rng(0)
SIZE, CLASSES = 6, 4


def answers(count, shift):
    logits = GENERATOR.normal(0, 1, (count, CLASSES))
    logits[:, 0] += shift
    return logits, GENERATOR.normal(0, 1, (count, SIZE)).astype(np.float32)


def none():
    return NoneLogit(GENERATOR.normal(0, 0.1, SIZE).astype(np.float32), 0.5)


def test_it_falls_where_no_flower_is_seen_and_where_another_is():
    known = Known.fit(none(), answers(4000, 6), answers(400, -1))
    flowers, nothing = known(*answers(4000, 6)), known(*answers(4000, -1))
    # A flower that was never taught: no logit is high, nor is that of "none of these".
    logits, embeddings = answers(4000, 3)
    another = known(logits, embeddings - 4 * known.none.weight / (known.none.weight**2).sum())
    for others in (nothing, another):
        assert np.median(others) < 0.5 < np.median(flowers)
    assert np.median(nothing) < np.median(another)
    # Half, or less, is what one known flower in a hundred gets, and the few that look like none at all.
    assert (flowers < 0.5).mean() == pytest.approx(0.01, abs=0.01)


def test_without_outliers_the_largest_logit_decides():
    flowers = answers(2000, 4)
    known = Known.fit(None, flowers, None)
    assert (known(*flowers) > 0.5).mean() == pytest.approx(0.99, abs=0.002)
    assert np.array_equal(np.argsort(known(*flowers)), np.argsort(flowers[0].max(axis=1)))


def test_where_logits_do_not_vary_it_does_not_hang_on_their_last_digit():
    logits, embeddings = answers(1, 4)
    logits, embeddings = np.repeat(logits, 3, axis=0), np.repeat(embeddings, 3, axis=0)
    known = Known.fit(None, (logits, embeddings), None)
    assert np.abs(known(logits + 1e-6, embeddings) - known(logits, embeddings)).max() < 1e-4
    assert known(logits - 1, embeddings).max() < 0.01


def fields_of_logits(count, classes=12):
    """Return logits of photographs of classes that lie in a plane of the space of logits, and their targets."""
    means = GENERATOR.normal(0, 3, (classes, 2)) @ GENERATOR.normal(0, 1, (2, classes))
    targets = GENERATOR.integers(0, classes, count)
    return means[targets] + GENERATOR.normal(0, 1, (count, classes)), targets


def test_typical_is_the_relative_mahalanobis_distance():
    logits, targets = fields_of_logits(3000)
    typical = Typical.fit(logits, targets)
    means = np.stack([logits[targets == each].mean(axis=0) for each in range(12)])
    centre, rest = means.mean(axis=0), logits - means[targets]
    within = rest.T @ rest / len(rest)
    within += np.trace(within) / 12 * np.eye(12)
    whole = within + (means - centre).T @ (means - centre) / 12

    def distances(to, covariance):
        return np.einsum("nki,ij,nkj->nk", logits[:, None] - to, np.linalg.inv(covariance), logits[:, None] - to)

    expected = distances(centre[None], whole)[:, 0] - distances(means, within).min(axis=1)
    assert np.abs(typical(logits) - expected / 2).max() < 1e-3
    assert typical.directions.shape == (12, 11)


def test_what_lies_between_the_classes_is_less_known_with_a_logit_as_high():
    seen, targets = fields_of_logits(3000)
    flowers = seen[::2]
    known = Known.fit(None, (flowers, np.zeros((len(flowers), SIZE))), None, Typical.fit(seen[1::2], targets[1::2]))
    strangers = GENERATOR.permuted(flowers, axis=1)  # The same logits, of other classes.
    no_embeddings = np.zeros((len(flowers), SIZE))
    assert np.median(known(strangers, no_embeddings)) < np.median(known(flowers, no_embeddings)) / 2
    assert (known(flowers, no_embeddings) > 0.5).mean() == pytest.approx(0.99, abs=0.005)


def test_far_logits_do_not_overflow():
    logits = np.array([[1e4, -1e4], [-1e4, -1e4]])
    assert Known(Line(1.0, 0.0))(logits, np.zeros((2, SIZE))).tolist() == [1, pytest.approx(0, abs=1e-30)]


def test_the_description_holds_all_of_it():
    some = answers(20, 1)
    typical = Typical.fit(answers(50, 1)[0], np.arange(50) % CLASSES)
    for known in (
        Known.fit(none(), answers(50, 3), answers(50, 0), typical),
        Known.fit(None, answers(50, 3), None, typical),
        Known.fit(None, answers(50, 3), None),
    ):
        again = Known.from_json(known.to_json(), SIZE)
        assert np.array_equal(again(*some), known(*some))
        for damaged in ({}, {"another": [1]}, known.to_json() | {"none": {"weight": "?", "bias": 0}}):
            with pytest.raises(BundleError, match="damaged"):
                Known.from_json(damaged, SIZE)


def test_refusal_counts_kinds_at_the_threshold():
    inside, outside = np.linspace(0.5, 1, 100), np.array([0.1, 0.2, 0.9, 0.1])
    found = refusal(inside, outside, ["a", "a", "a", "b"], 0.4)
    assert found["kept"]["value"] == 1
    assert found["refused"]["value"] == 0.75
    assert found["by_kind"]["a"]["refused"]["value"] == pytest.approx(2 / 3, abs=1e-5)
    assert found["by_kind"]["b"] | {"refused": None} == {"photos": 1, "refused": None}
    assert found["auroc"] == pytest.approx(np.mean([(inside > other).mean() for other in outside]), abs=1e-6)


def test_disguise_keeps_the_size_and_follows_the_seed():
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from flowercli.training.dataset import Disguise
    from flowercli.training.randomness import seeded

    image = Image.fromarray(GENERATOR.integers(0, 256, (50, 70, 3), dtype=np.uint8))
    results = []
    for seed in (1, 1, 2):
        with seeded(seed):
            results.append(np.asarray(Disguise(1.0)(image)))
    assert all(result.shape == (50, 70, 3) for result in results)
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert np.array_equal(np.asarray(Disguise(0.0)(image)), np.asarray(image))
