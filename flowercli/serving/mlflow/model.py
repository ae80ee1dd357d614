"""The model that MLflow serves: MLflow runs this file and takes what it hands to ``set_model``.

It is stored as code beside the ``.onnx``, not as a pickled object, so a model logged today can be read and
loaded by another version of Python tomorrow.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd  # noqa: TC002  (MLflow looks the type of `model_input` up)
from mlflow.exceptions import MlflowException

from flowercli.bundle import Bundle
from flowercli.errors import ImageError
from flowercli.inference.classifier import DEFAULT_TOP_K, Classifier
from flowercli.inference.cpu import available_cores
from flowercli.inference.decode import from_base64
from flowercli.inference.memory import DECODERS, NoRoomError, limit_decoders
from flowercli.inference.preprocess import MAX_BYTES

# The base64 text of a picture, and where its answer goes.
Waiting = tuple[object, Future[dict[str, Any]]]

COLUMN = "image"
# What a browser's FileReader puts before the base64 text of a file.
DATA_PREFIX = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,", re.ASCII)


class FlowersModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow has no types here
    """Answers about pictures in a column of base64 text, as ``flowers classify --json`` does."""

    def load_context(self, context: Any) -> None:
        """Open the bundle, a lone ``.onnx``, and start a thread a core."""
        self.classifier = Classifier.open(Bundle.load(Path(context.artifacts["bundle"])))
        self.threads = ThreadPoolExecutor(available_cores())
        limit_decoders(available_cores())

    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Return an object a picture: that of ``flowers classify --json`` without the path.

        A picture that cannot be read has ``{"error": {"code": …, "message": …}}`` in its place.

        Args:
            context: MLflow's, unused.
            model_input: a data frame with the column ``image``, the base64 text of a JPEG, PNG or other file, and any
                number of rows: how many come in one request is for the server to limit.
            params: ``top_k``, the number of classes in ``all_predictions``, five by default; 0 for all.

        Raises:
            MlflowException: with the code of a bad request: a ``top_k`` below 0.
        """
        top_k = _top_k(params or {})
        answers: list[Future[dict[str, Any]]] = [Future() for _ in model_input[COLUMN]]
        waiting = deque(zip(model_input[COLUMN], answers, strict=True))
        for _ in range(min(len(waiting), available_cores())):
            self.threads.submit(self._work, waiting, top_k)
        return [answer.result() for answer in answers]

    def _work(self, waiting: deque[Waiting], top_k: int) -> None:
        """Answer about the next picture of a request, and then let other requests take their turn."""
        try:
            text, answer = waiting.popleft()
        except IndexError:  # Another thread has taken the last.
            return
        try:
            answer.set_result(self._answer(text, top_k))
        except NoRoomError:
            DECODERS.tell_when_freed(lambda: self.threads.submit(self._work, deque([(text, answer)]), top_k))
        except BaseException as error:  # noqa: BLE001  (whoever waits for the answer raises it)
            answer.set_exception(error)
        if waiting:
            self.threads.submit(self._work, waiting, top_k)

    def _answer(self, text: object, top_k: int) -> dict[str, Any]:
        try:
            return self.classifier.classify(_decode(text), top_k).as_dict()
        except ImageError as error:
            return {"error": {"code": error.code, "message": error.message}}


def _decode(text: object) -> bytes:
    """Decode base64 text, with or without ``data:image/…;base64,`` before it.

    Raises:
        ImageError: it is not base64, or holds too much.
    """
    if isinstance(text, str):
        if prefix := DATA_PREFIX.match(text[:100]):
            text = text[prefix.end() :]
        if len(text) > MAX_BYTES * 4 // 3 + 4:
            raise ImageError("too_large", f"It is larger than {MAX_BYTES // 2**20} MiB.")
    return from_base64(text)


def _top_k(params: Mapping[str, Any]) -> int:
    top_k = int(params.get("top_k", DEFAULT_TOP_K))
    if top_k < 0:
        message = f"top_k is {top_k}: at least 1, or 0 for all classes."
        raise MlflowException(message, error_code=mlflow.protos.databricks_pb2.BAD_REQUEST)
    return top_k


mlflow.models.set_model(FlowersModel())
