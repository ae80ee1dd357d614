"""The JSON schemas of the OpenAPI description, by name."""

from __future__ import annotations

from typing import Any

from flowercli.serving.http.infer_request import DATATYPES, IMAGE, OUTPUTS, PIXELS
from flowercli.serving.http.settings import MODEL

TEXT = {"type": "string"}
SHAPE = {"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1, "maxItems": 4}
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
BASE64 = {"type": "string", "contentEncoding": "base64", "minLength": 4}
PARAMETERS = {"type": "object"}


def obj(properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the schema of an object with these properties and no others."""
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **more}


NAME = {"anyOf": [TEXT, {"type": "null"}], "description": "The name of the file, where it was sent with one."}
TENSOR = obj({"name": TEXT, "datatype": {"enum": ["BYTES", "UINT8", "FP32", "BOOL"]}, "shape": SHAPE})
VALUES = {"type": "array", "items": {"type": ["number", "string", "boolean"]}}

ALL: dict[str, Any] = {
    "Answer": obj({
        "path": NAME,
        "predicted_class": TEXT,
        "class_index": {"type": "integer", "minimum": 0},
        "confidence": PROBABILITY,
        "all_predictions": {
            "type": "object", "additionalProperties": PROBABILITY, "description": "Most probable first."
        },
        "rejected": {"type": "boolean", "description": "Too unsure, or unlike the training photographs."},
    }),
    "BadPicture": obj({"path": NAME, "error": obj({"code": TEXT, "message": TEXT})}),
    "Results": obj({"results": array({"anyOf": [ref("Answer"), ref("BadPicture")]}, minItems=1)}),
    "Base64Images": obj({"images": array(BASE64, minItems=1)}),
    "Form": obj({"file": array({"type": "string", "format": "binary"}, minItems=1)}),
    "Problem": obj({
        "type": TEXT, "title": TEXT, "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {**TEXT, "description": "Stable, for programs."},
        "detail": TEXT,
        "error": {**TEXT, "description": "The detail again, for clients of the Open Inference Protocol."},
    }),
    "Live": obj({"live": {"const": True}}),
    "Ready": obj({"name": {"const": MODEL}, "ready": {"const": True}}),
    "ServerMetadata": obj({"name": TEXT, "version": TEXT, "extensions": array(TEXT)}),
    "ModelMetadata": obj({
        "name": {"const": MODEL}, "versions": array(TEXT), "platform": TEXT,
        "inputs": array(ref("Tensor")), "outputs": array(ref("Tensor")),
    }),
    "Tensor": TENSOR,
    "InferRequest": obj(
        {
            "id": TEXT,
            "parameters": PARAMETERS,
            "inputs": array({"anyOf": [ref("ImageInput"), ref("PixelsInput")]}, minItems=1, maxItems=1),
            "outputs": array(ref("WantedOutput"), uniqueItems=True),
        },
        optional=("id", "parameters", "outputs"),
    ),
    "ImageInput": obj({
        "name": {"const": IMAGE}, "datatype": {"const": DATATYPES[IMAGE]}, "shape": SHAPE, "data": array(BASE64),
    }),
    "PixelsInput": obj({
        "name": {"const": PIXELS}, "datatype": {"const": DATATYPES[PIXELS]}, "shape": SHAPE,
        "data": array({"type": "integer", "minimum": 0, "maximum": 255}),
    }),
    "WantedOutput": obj({"name": {"enum": list(OUTPUTS)}, "parameters": PARAMETERS}, optional=("parameters",)),
    "InferResponse": obj(
        {
            "model_name": {"const": MODEL}, "model_version": TEXT, "id": TEXT,
            "outputs": array(
                obj({"name": TEXT, "datatype": TEXT, "shape": SHAPE, "data": VALUES, "parameters": PARAMETERS},
                    optional=("data", "parameters"))
            ),
        },
        optional=("id",),
    ),
}  # fmt: skip
