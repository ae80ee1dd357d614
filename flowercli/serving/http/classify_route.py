"""``POST /v1/classify``: pictures in a form, as bytes or in base64; answers as by ``flowers classify --json``."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from flowercli.errors import ImageError
from flowercli.inference.pipeline import as_dict
from flowercli.serving.http.jobs import Answered
from flowercli.serving.http.multipart import File, parse_form
from flowercli.serving.http.problems import Problem, bad_picture, too_many_images
from flowercli.serving.http.strict import INLINE_BYTES, check_fields, decode_base64, read_json, read_query

if TYPE_CHECKING:
    from starlette.requests import Request

    from flowercli.serving.http.jobs import Input, Outcome
    from flowercli.serving.http.service import Service

IMAGES = "images"
FORM = "multipart/form-data"
JSON = "application/json"
ANY_BYTES = "application/octet-stream"
# Of a JSON request, beside the pictures.
JSON_OVERHEAD = 8


async def classify(service: Service, request: Request) -> Response:
    """Answer about the pictures of a request.

    Raises:
        Problem: the request cannot be answered; a bad picture among several only has its own error.
    """
    top_k, classifier = read_query(request.scope["query_string"], service.classifier)
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    raw = kind.startswith("image/") or kind == ANY_BYTES
    if not raw and kind not in {FORM, JSON}:
        known = f"image/*, {ANY_BYTES}, {FORM} or {JSON}"
        raise Problem(415, "unsupported_type", f"Send the picture as {known}.", {"Accept": known.replace(" or", ",")})
    async with service.receiving(request) as body:
        names, inputs = await _inputs(service, kind, content_type, body)
        request.state.images = len(inputs)
        outcomes = await service.workers.answer(inputs, classifier, top_k, request.state.request_id)
    results = [_as_dict(name, outcome) for name, outcome in zip(names, outcomes, strict=True)]
    if len(outcomes) == 1 and isinstance(outcomes[0], ImageError):
        raise bad_picture(outcomes[0])
    answer = results[0] if raw else {"results": results}
    return Response(json.dumps(answer, ensure_ascii=False).encode(), media_type=JSON)


async def _inputs(service: Service, kind: str, content_type: str, body: bytes) -> tuple[list[str | None], list[Input]]:
    """Return the names of the pictures and what each of them is."""
    limit = service.limits.images
    if kind == FORM:
        files = await _in_thread_if_large(body, parse_form, content_type, body, limit)
    elif kind == JSON:
        return await _from_json(body, limit)
    else:
        files = [File(None, body)]
    return [file.name for file in files], [file.content for file in files]


async def _from_json(body: bytes, limit: int) -> tuple[list[str | None], list[Input]]:
    value = await read_json(body, limit + JSON_OVERHEAD, limit)
    check_fields(value, {IMAGES}, "The JSON object")
    texts = value.get(IMAGES)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise Problem(422, "bad_json", f"'{IMAGES}' is not a list of base64 texts.")
    if len(texts) > limit:
        raise too_many_images(len(texts), limit)
    inputs: list[Input] = await _in_thread_if_large(body, lambda: [decode_base64(text) for text in texts])
    return [None] * len(texts), inputs


async def _in_thread_if_large(body: bytes, function: Any, *arguments: Any) -> Any:
    if len(body) <= INLINE_BYTES:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)


def _as_dict(name: str | None, outcome: Outcome) -> dict[str, Any]:
    assert not isinstance(outcome, Problem)
    return as_dict(name, outcome.prediction if isinstance(outcome, Answered) else outcome)
