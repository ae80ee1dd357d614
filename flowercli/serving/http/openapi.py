"""The OpenAPI description of the service: what goes in, what comes out, and every way to fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from flowercli.inference.classifier import DEFAULT_TOP_K
from flowercli.serving.http import schemas
from flowercli.serving.http.keys import OPEN_ROUTES
from flowercli.serving.http.problems import MEDIA_TYPE

if TYPE_CHECKING:
    from fastapi import FastAPI

TEXT = (
    "Tells which flower is in a photograph. Every error is an `application/problem+json` object (RFC 9457) with a "
    "stable `code`. The Open Inference Protocol is under `/v2`."
)
PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif")
BINARY = {"type": "string", "format": "binary"}
RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer", "minimum": 1}}
}
CHALLENGE = {"WWW-Authenticate": {"description": "How to send the key.", "schema": {"type": "string"}}}
CAUSES = {
    400: "The request cannot be read.",
    401: "The key is missing or wrong.",
    408: "The request took too long to arrive.",
    413: "The request, its pictures or one of them is too large.",
    415: "The request is of a type that is not taken.",
    422: "The picture cannot be read, or the request has something that is not known.",
    429: "Too many pictures are waiting.",
    503: "There is no room, or the service is starting or ending.",
}
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def ok(schema: str, what: str, **more: Any) -> dict[int, Any]:
    """Return the description of an answer."""
    content = {"application/json": {"schema": schemas.ref(schema)}}
    return {200: {"description": what, "content": {**content, **more}}}


def problems(*statuses: int) -> dict[int, Any]:
    """Return the descriptions of these errors."""
    return {status: problem(status) for status in statuses}


def problem(status: int) -> dict[str, Any]:
    """Return the description of an error."""
    content = {MEDIA_TYPE: {"schema": schemas.ref("Problem")}}
    headers = RETRY_AFTER if status in {429, 503} else CHALLENGE if status == 401 else {}  # noqa: PLR2004
    return {"description": CAUSES[status], "content": content, **({"headers": headers} if headers else {})}


def _get(operation: str, schema: str, what: str, *statuses: int) -> dict[str, Any]:
    return {
        "operation_id": operation,
        "summary": what,
        "responses": {**ok(schema, what), **problems(422, *statuses)},
        "response_model": None,
    }


def _post(
    operation: str, what: str, responses: dict[int, Any], body: dict[str, Any], parameters: list[Any], text: str = ""
) -> Any:
    return {
        "description": text,
        "operation_id": operation,
        "summary": what,
        "responses": {**responses, **problems(400, 408, 413, 415, 422, 429, 503)},
        "response_model": None,
        "openapi_extra": {"requestBody": {"required": True, "content": body}, "parameters": parameters},
    }


FORM = {
    "schema": schemas.ref("Form"),
    "encoding": {"file": {"contentType": ", ".join(PICTURE_TYPES)}},
}
TOP_K = {
    "name": "top_k", "in": "query", "required": False,
    "description": "How many classes an answer lists; 0 for all.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": DEFAULT_TOP_K},
}  # fmt: skip
ONLY = {
    "name": "only", "in": "query", "required": False, "style": "form", "explode": False,
    "description": "Answer among these classes alone, separated by commas. What shows none of them is rejected.",
    "schema": {"type": "array", "items": schemas.ref("ClassName"), "minItems": 1},
    "example": ["daisy", "rose"],
}  # fmt: skip
INFER_TEXT = (
    "One input: `image`, encoded files, or `pixels`, UINT8 `[N, H, W, 3]` as the model's metadata says. Described here "
    "is `image` in JSON, where its elements are base64 text. Both can be sent as binary tensors after the JSON, whose "
    "length is then given in the header `Inference-Header-Content-Length`; with a length of 0, the body is one file."
)
CLASSIFY = _post(
    "classify",
    "Tell which flower is in each picture",
    {
        200: {
            "description": "One answer for a picture that is sent as it is; else a list, in the order of the pictures.",
            "content": {"application/json": {"schema": {"anyOf": [schemas.ref("Answer"), schemas.ref("Results")]}}},
        }
    },
    {
        "multipart/form-data": FORM,
        "application/json": {"schema": schemas.ref("Base64Images")},
        **{kind: {"schema": BINARY} for kind in PICTURE_TYPES},
    },
    [TOP_K, ONLY],
)
INFER = _post(
    "infer",
    "Answer a request of the Open Inference Protocol",
    ok("InferResponse", "The outputs that were asked for.", **{"application/octet-stream": {"schema": BINARY}}),
    {"application/json": {"schema": schemas.ref("InferRequest")}},
    [],
    INFER_TEXT,
)
SERVER = _get("server", "ServerMetadata", "What serves")
LIVE = _get("live", "Live", "Whether the service runs")
READY = _get("ready", "Ready", "Whether the service answers", 503)
METADATA = _get("model", "ModelMetadata", "The inputs and outputs of the model")
MODEL_READY = _get("model_ready", "Ready", "Whether the model answers", 503)
METRICS = {
    **_get("metrics", "Live", "Figures in Prometheus' text format"),
    "responses": {
        200: {"description": "Figures.", "content": {"text/plain": {"schema": schemas.TEXT}}},
        **problems(422),
    },
}


def complete(app: FastAPI, *, max_images: int, class_names: Sequence[str], needs_key: bool) -> None:
    """Have the application describe itself with the schemas, and with the key where one is needed."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            description["components"] = {"schemas": schemas.all_schemas(max_images, class_names)}
            if needs_key:
                _ask_for_key(description)
            app.openapi_schema = description
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _ask_for_key(description: dict[str, Any]) -> None:
    description["components"]["securitySchemes"] = SECURITY
    for path, item in description["paths"].items():
        if path not in OPEN_ROUTES:
            for operation in item.values():
                operation["security"] = [{name: []} for name in SECURITY]
                operation["responses"]["401"] = problem(401)
