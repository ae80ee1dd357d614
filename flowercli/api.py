"""What Python programs import: ``from flowercli import Classifier``. It needs the base install only, no torch.

Example:
    classifier = Classifier.open("garden")
    answer = classifier.classify("rose.jpg")
    if not answer.rejected:
        print(answer.predicted_class, answer.scientific_name, answer.confidence)
"""

from __future__ import annotations

import os
from typing import Self

from flowercli.bundle import Bundle
from flowercli.inference import classifier as inference
from flowercli.inference.classifier import Prediction as Prediction  # noqa: PLC0414  (part of what is offered here)
from flowercli.models import load_model


class Classifier(inference.Classifier):
    """A model, opened: it answers about one picture after the other, from any number of threads."""

    @classmethod
    def open(
        cls, bundle: Bundle | str | os.PathLike[str] | None = None, device: str | None = None, *, threads: int = 1
    ) -> Self:
        """Open a model.

        Args:
            bundle: a name from ``flowers models``, or the path of a bundle or a ``.onnx`` file; without one the default
                model, or what ``FLOWERS_MODEL`` says.
            device: ``auto``, ``tensorrt``, ``cuda`` or ``cpu``; without one what ``FLOWERS_DEVICE`` says, or the best.
            threads: for one picture on the CPU. More than one makes a picture faster, and many together slower.

        Raises:
            DeviceError: the device cannot be had.
            BundleError: there is no such model, or it is damaged.
        """
        if not isinstance(bundle, Bundle):
            bundle = load_model(None if bundle is None else os.fspath(bundle))
        return super().open(bundle, device, threads=threads)
