"""The model that MLflow serves: MLflow runs this file and takes what it hands to ``set_model``.

It is stored as code beside the ``.onnx``, not as a pickled object, so a model logged today can be read and
loaded by another version of Python tomorrow.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

from flowercli.bundle import Bundle
from flowercli.errors import ImageError
from flowercli.inference.classifier import Classifier
from flowercli.inference.preprocess import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMN = "image"
# Of one request; the pixels of a picture are limited where it is decoded.
MAX_PICTURES = 256


class FlowersModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow has no types here
    """Answers about pictures in a column of base64 text, as ``flowers classify --json`` does."""

    def load_context(self, context: Any) -> None:
        """Open the bundle, a lone ``.onnx``."""
        self.classifier = Classifier.open(Bundle.load(Path(context.artifacts["bundle"])))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Return one row of answers a picture.

        Args:
            context: MLflow's, unused.
            model_input: a data frame with the column ``image``: the base64 text of a JPEG, PNG or other file.
            params: ``top_k``, the number of classes in ``all_predictions``; 0 for all.

        Raises:
            MlflowException: with the code of a bad request: a picture cannot be read, or there are too many.
        """
        top_k = _top_k(params or {})
        if len(model_input) > MAX_PICTURES:
            raise _bad_request(f"{len(model_input)} pictures in one request: at most {MAX_PICTURES}.")
        answers = [self._answer(row, text, top_k) for row, text in enumerate(model_input[COLUMN])]
        return pd.DataFrame(answers)

    def _answer(self, row: int, text: object, top_k: int | None) -> dict[str, Any]:
        try:
            return self.classifier.classify(_decode(text), top_k).as_dict()
        except ImageError as error:
            raise _bad_request(f"Picture {row}: {error.code}: {error.message}") from None


def _decode(text: object) -> bytes:
    """Decode base64 text.

    Raises:
        ImageError: it is not base64, or holds too much.
    """
    if not isinstance(text, str):
        raise ImageError("not_base64", "It is not the base64 text of a file.")
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise ImageError("too_large", f"It is larger than {MAX_BYTES // 2**20} MiB.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("not_base64", "It is not the base64 text of a file.") from None


def _top_k(params: Mapping[str, Any]) -> int | None:
    top_k = int(params.get("top_k", 0))
    if top_k < 0:
        raise _bad_request(f"top_k is {top_k}: at least 1, or 0 for all classes.")
    return top_k or None


def _bad_request(message: str) -> MlflowException:
    return MlflowException(message, error_code=mlflow.protos.databricks_pb2.BAD_REQUEST)


mlflow.models.set_model(FlowersModel())
