"""The Open Inference Protocol, version 2: what KServe's clients and ``tritonclient`` speak."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli import __version__
from flowercli.errors import ImageError
from flowercli.serving.http.infer_request import DATATYPES as INPUT_DATATYPES
from flowercli.serving.http.infer_request import HEADER_LENGTH, IMAGE, PIXELS, read_request
from flowercli.serving.http.infer_response import DATATYPES as OUTPUT_DATATYPES
from flowercli.serving.http.infer_response import VERSION, infer_response
from flowercli.serving.http.jobs import Answered
from flowercli.serving.http.problems import Problem, bad_picture
from flowercli.serving.http.query import refuse_query
from flowercli.serving.http.settings import MODEL

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from flowercli.inference.classifier import Classifier
    from flowercli.serving.http.service import Service

PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data", "classification")
TYPES = ("", "application/json", "application/octet-stream")


def server_metadata() -> dict[str, Any]:
    """Return what ``GET /v2`` tells."""
    return {"name": "flowercli", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(service: Service) -> dict[str, Any]:
    """Return what ``GET /v2/models/flowers`` tells; of the two inputs, a request has one."""
    spec = service.classifier.spec
    classes = len(service.classifier.bundle.class_names)
    shapes = {
        IMAGE: [-1], PIXELS: [-1, spec.height, spec.width, 3],
        "probabilities": [-1, classes], "embedding": [-1, service.embedding_size],
        "known": [-1, 1], "predicted_class": [-1], "rejected": [-1], "reason": [-1],
    }  # fmt: skip

    def tensors(datatypes: dict[str, str]) -> list[dict[str, Any]]:
        return [{"name": name, "datatype": kind, "shape": shapes[name]} for name, kind in datatypes.items()]

    return {
        "name": MODEL,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": tensors(INPUT_DATATYPES),
        "outputs": tensors(OUTPUT_DATATYPES),
    }


async def infer(service: Service, request: Request) -> Response:
    """Answer about the pictures of a request.

    Raises:
        Problem: the request cannot be answered, or one of its pictures cannot be read.
    """
    refuse_query(request.scope["query_string"])
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES:
        raise Problem(415, "unsupported_type", f"Send the request as {' or '.join(TYPES[1:])}.")
    async with service.receiving(request) as body:
        length = request.headers.get(HEADER_LENGTH)
        asked = await read_request(body, length, service.classifier.spec, service.limits.images)
        request.state.images = len(asked.inputs)
        outcomes = await service.workers.answer(asked.inputs, service.classifier, request=request.state.request_id)
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, ImageError):
            raise bad_picture(outcome, place)
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
    return infer_response(asked, _as_restricted(answers, service.classifier), service.classifier.bundle.class_names)


def _as_restricted(answers: list[Answered], classifier: Classifier) -> list[Answered]:
    """Return the answers with probabilities of zero for the classes that may not be answered."""
    if not classifier.is_restricted:
        return answers
    may = np.isin(classifier.bundle.class_names, classifier.answerable).astype(np.float32)
    # Where nothing is left of a picture, the probabilities are even.
    kept = [may * answer.probabilities if may @ answer.probabilities else may for answer in answers]
    return [replace(answer, probabilities=row / row.sum()) for answer, row in zip(answers, kept, strict=True)]
