"""Write answers as the Open Inference Protocol has them: JSON, with binary tensors behind it where asked for."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.responses import Response

from flowercli.serving.http.infer_request import HEADER_LENGTH
from flowercli.serving.http.settings import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from flowercli.serving.http.infer_request import InferRequest, Wanted
    from flowercli.serving.http.jobs import Answered

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
