"""Batches in parts: of the same pictures, and never of one, which batch normalisation cannot take."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from flowercli.training.config import compose_config
from flowercli.training.learner import Learner
from flowercli.training.mixing import Batch
from flowercli.training.model import PixelClassifier, create_backbone, resolved_cfg


@pytest.mark.parametrize("indices", [True, False])
def test_parts_hold_every_picture_once_and_none_is_alone(indices):
    for count in range(2, 40):
        pictures = torch.arange(count).view(count, 1, 1, 1)
        batch = Batch(pictures, pictures[:, :, 0, 0], pictures.flatten() if indices else None)
        for size in range(1, count + 2):
            parts = batch.parts(size)
            assert torch.equal(torch.cat([part.pixels for part in parts]), pictures)
            sizes = [len(part) for part in parts]
            assert min(sizes) >= 2, (count, size)
            assert max(sizes) <= max(size, 3), (count, size)


def test_a_head_with_batch_normalisation_learns_from_an_odd_batch_in_parts_of_two():
    arguments = ["model.name=levit_128s", "model.pretrained=false", "loss=ce", "device=cpu", "precision=fp32"]
    config = compose_config([*arguments, "batch_size=5", "micro_batch=2"])
    backbone = create_backbone(config.model, 2)
    model = PixelClassifier(backbone, resolved_cfg(backbone, config.model, 2))
    learner = Learner(config, model, [], [4, 4], 1, print)
    learner.start_epoch(1)
    pixels = torch.randint(0, 256, (5, 3, *model.input_size), dtype=torch.uint8)
    assert learner.update(pixels, torch.tensor([0, 1, 0, 1, 0]), 1, 1) > 0
