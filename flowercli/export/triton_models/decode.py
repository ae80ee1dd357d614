"""Triton runs this: the bytes of pictures in, the pixels that the model takes out."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Decodes, resizes and crops as ``flowers classify`` does, with a copy of its modules."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the preprocess spec that lies beside this file."""
        folder = Path(args["model_repository"], args["model_version"])
        # First: a flowercli that is installed on the server may be of another version.
        sys.path.insert(0, str(folder))
        from flowercli.inference.cpu import available_cores
        from flowercli.inference.preprocess import PreprocessSpec

        self._spec = PreprocessSpec.from_pretrained_cfg(json.loads((folder / "preprocess.json").read_text("utf-8")))
        self._pool = ThreadPoolExecutor(available_cores())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests whose input ``image`` is ``bytes`` ``[N, 1]`` with ``pixels``, ``uint8`` ``[N, H, W, 3]``.

        A request with a picture that cannot be read is answered with an error that says which and why;
        the requests that came with it are not affected.
        """
        waiting = [self._start(request) for request in requests]
        return [_finish(pictures) for pictures in waiting]

    def finalize(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _start(self, request: Any) -> list[Future[Any]]:
        contents = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        return [self._pool.submit(self._load, content) for content in contents.ravel()]

    def _load(self, content: bytes) -> Any:
        from flowercli.errors import ImageError
        from flowercli.inference.preprocess import MAX_BYTES, load_pixels

        if len(content) > MAX_BYTES:
            raise ImageError("too_large", f"It is larger than {MAX_BYTES // 2**20} MiB.")
        return load_pixels(content, self._spec)


def _finish(pictures: list[Future[Any]]) -> Any:
    from flowercli.errors import ImageError

    loaded = []
    for number, picture in enumerate(pictures):
        try:
            loaded.append(picture.result())
        except ImageError as error:
            message = f"Picture {number}: {error.code}: {error.message}"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
    return pb_utils.InferenceResponse([pb_utils.Tensor("pixels", np.stack(loaded))])
