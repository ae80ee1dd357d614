"""Triton runs this where it lacks its onnxruntime backend: the same graph, by onnxruntime in Python, on the CPU."""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers as ``flowers classify`` does: one picture a batch, one thread a core, which on a CPU is fastest."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph that lies beside this file."""
        folder = Path(args["model_repository"], args["model_version"])
        # First: a flowercli that is installed on the server may be of another version.
        sys.path.insert(0, str(folder))
        from flowercli.bundle import Bundle
        from flowercli.inference.classifier import Classifier
        from flowercli.inference.cpu import available_cores

        self._classifier = Classifier.open(Bundle.load(folder / "model.onnx"), "cpu", threads=1)
        self._pool = ThreadPoolExecutor(available_cores())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests whose input ``pixels`` is ``uint8`` ``[N, H, W, 3]``."""
        waiting = [self._start(request) for request in requests]
        return [_finish(pictures) for pictures in waiting]

    def finalize(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _start(self, request: Any) -> list[Future[Any]]:
        pixels = pb_utils.get_input_tensor_by_name(request, "pixels").as_numpy()
        return [self._pool.submit(self._classifier.run, picture[np.newaxis]) for picture in pixels]


def _finish(pictures: list[Future[Any]]) -> Any:
    probabilities, embedding, known = map(np.concatenate, zip(*(picture.result() for picture in pictures), strict=True))
    named = {"probabilities": probabilities, "embedding": embedding, "known": known[:, np.newaxis]}
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, values) for name, values in named.items()])
