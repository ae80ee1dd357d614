"""The Open Inference Protocol, version 2, which KServe's clients and ``tritonclient`` speak: routes and answers."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from starlette.responses import Response

from flowercli import __version__
from flowercli.errors import ImageError
from flowercli.serving.http.infer_request import DATATYPES as INPUT_DATATYPES
from flowercli.serving.http.infer_request import HEADER_LENGTH, IMAGE, PIXELS, InferRequest, Wanted, read_request
from flowercli.serving.http.jobs import Answered
from flowercli.serving.http.problems import Problem, bad_picture
from flowercli.serving.http.settings import MODEL
from flowercli.serving.http.strict import refuse_query

if TYPE_CHECKING:
    from starlette.requests import Request

    from flowercli.inference.classifier import Classifier
    from flowercli.serving.http.service import Service


PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data", "classification")
TYPES = ("", "application/json", "application/octet-stream")

VERSION = "1"
DATATYPES = {
    "probabilities": "FP32", "embedding": "FP32", "known": "FP32", "predicted_class": "BYTES", "rejected": "BOOL",
    "reason": "BYTES",
}  # fmt: skip
COLUMNS: dict[str, Callable[[Answered], Any]] = {
    "probabilities": lambda answer: answer.probabilities,
    "embedding": lambda answer: answer.embedding,
    "known": lambda answer: np.array([answer.prediction.known], np.float32),
    "predicted_class": lambda answer: answer.prediction.predicted_class,
    "rejected": lambda answer: np.bool_(answer.prediction.rejected),
    "reason": lambda answer: answer.prediction.reason or "",
}
# Digits that tell all float32 apart.
DIGITS = 9


def infer_response(request: InferRequest, answers: Sequence[Answered], class_names: Sequence[str]) -> Response:
    """Return the response for the pictures of a request."""
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for wanted in request.outputs:
        tensor, datatype = _tensor(wanted, answers, class_names)
        output: dict[str, Any] = {"name": wanted.name, "shape": list(tensor.shape), "datatype": datatype}
        if wanted.binary:
            data = _to_bytes(tensor)
            output["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            output["data"] = _to_list(tensor)
        outputs.append(output)
    value: dict[str, Any] = {"model_name": MODEL, "model_version": VERSION, "outputs": outputs}
    if request.id is not None:
        value["id"] = request.id
    text = json.dumps(value, ensure_ascii=False).encode(errors="replace")
    if not tail:
        return Response(text, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(text))}
    return Response(b"".join((text, *tail)), headers=headers, media_type="application/octet-stream")


def _tensor(wanted: Wanted, answers: Sequence[Answered], class_names: Sequence[str]) -> tuple[npt.NDArray[Any], str]:
    if wanted.classes:
        rows = [_classified(answer, wanted.classes, class_names) for answer in answers]
        return np.array(rows, dtype=object), "BYTES"
    column = COLUMNS[wanted.name]
    rows = [column(answer) for answer in answers]
    tensor = np.array(rows, dtype=object) if DATATYPES[wanted.name] == "BYTES" else np.stack(rows)
    return tensor, DATATYPES[wanted.name]


def _classified(answer: Answered, count: int, class_names: Sequence[str]) -> list[str]:
    """Return the most probable classes as Triton's classification extension writes them."""
    values = answer.probabilities
    order = np.argsort(-values, kind="stable")[:count].tolist()
    return [f"{values[index]:.6f}:{index}:{class_names[index]}" for index in order]


def _to_bytes(tensor: npt.NDArray[Any]) -> bytes:
    if tensor.dtype != object:
        return tensor.tobytes()
    texts = [text.encode() for text in tensor.ravel().tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _to_list(tensor: npt.NDArray[Any]) -> list[Any]:
    """Return the values in a flat list, as the protocol prefers them."""
    flat = tensor.ravel()
    if tensor.dtype == np.float32:
        return [float(f"{value:.{DIGITS}g}") for value in flat.tolist()]
    return flat.tolist()


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
        "outputs": tensors(DATATYPES),
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
