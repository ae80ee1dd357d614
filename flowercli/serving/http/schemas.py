"""The JSON schemas of the OpenAPI description, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowercli.inference.classifier import UNKNOWN, UNSURE
from flowercli.serving.http.infer_request import CLASSIFIED, DATATYPES, IMAGE, OUTPUTS
from flowercli.serving.http.settings import MODEL

TEXT = {"type": "string"}
SHAPE = {"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1, "maxItems": 4}
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
# The bytes of an image file. Tools that make up requests can be told by the format what to put here.
PICTURE_FORMAT = "base64-picture"
BASE64 = {
    "type": "string", "format": PICTURE_FORMAT, "contentEncoding": "base64", "contentMediaType": "image/*",
}  # fmt: skip
FLAG = {"type": "boolean"}
# JSON Schema cannot say that a list is as long as a number: these lengths are spelt out, more are taken.
DESCRIBED_COUNTS = range(1, 5)


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


def image_input(count: int) -> dict[str, Any]:
    """Return the schema of a tensor of so many pictures."""
    return obj(
        {
            "name": {"const": IMAGE},
            "datatype": {"const": DATATYPES[IMAGE]},
            "shape": {"enum": [[count], [count, 1]]},
            "data": array(BASE64, minItems=count, maxItems=count),
        }
    )


def wanted_output(names: list[str], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an output that is asked for."""
    taken = {"type": "object", "properties": {"binary_data": FLAG, **parameters}}
    return obj({"name": {"enum": names}, "parameters": taken}, optional=("parameters",))


NAME = {"anyOf": [TEXT, {"type": "null"}], "description": "The name of the file, where it was sent with one."}
TENSOR = obj({"name": TEXT, "datatype": {"enum": ["BYTES", "UINT8", "FP32", "BOOL"]}, "shape": SHAPE})
VALUES = {"type": "array", "items": {"type": ["number", "string", "boolean"]}}


def all_schemas(max_images: int, class_names: Sequence[str]) -> dict[str, Any]:
    """Return all schemas, for a service that takes so many pictures a request and answers among these classes."""
    return {
        **FIXED,
        "ClassName": {"enum": list(class_names)},
        "Base64Images": obj({"images": array(BASE64, minItems=1, maxItems=max_images)}),
        "Form": obj({"file": array({"type": "string", "format": "binary"}, minItems=1, maxItems=max_images)}),
    }


FIXED: dict[str, Any] = {
    "Answer": obj({
        "path": NAME,
        "predicted_class": ref("ClassName"),
        "scientific_name": {"anyOf": [TEXT, {"type": "null"}], "description": "null where the model has none."},
        "class_index": {"type": "integer", "minimum": 0},
        "confidence": PROBABILITY,
        "known": {**PROBABILITY, "description": "How sure it is that the picture shows a flower that may be answered."},
        "all_predictions": {
            "type": "object", "additionalProperties": PROBABILITY, "description": "Most probable first."
        },
        "rejected": {"type": "boolean", "description": "Not sure enough that the flower is known: see the reason."},
        "reason": {
            "enum": [None, UNKNOWN, UNSURE],
            "description": "null where it is not rejected; 'unsure' where it rather is a known flower than not.",
        },
    }),
    "BadPicture": obj({"path": NAME, "error": obj({"code": TEXT, "message": TEXT})}),
    "Results": obj({"results": array({"anyOf": [ref("Answer"), ref("BadPicture")]}, minItems=1)}),
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
            "parameters": {"type": "object", "properties": {"binary_data_output": FLAG}},
            "inputs": array(ref("ImageInput"), minItems=1, maxItems=1),
            "outputs": array({"anyOf": [ref("WantedProbabilities"), ref("WantedOutput")]}),
        },
        optional=("id", "parameters", "outputs"),
    ),
    "ImageInput": {"anyOf": [image_input(count) for count in DESCRIBED_COUNTS]},
    "WantedProbabilities": wanted_output([CLASSIFIED], {"classification": {"type": "integer", "minimum": 0}}),
    "WantedOutput": wanted_output(
        [name for name in OUTPUTS if name != CLASSIFIED], {"classification": {"const": 0}}
    ),
    "InferResponse": obj(
        {
            "model_name": {"const": MODEL}, "model_version": TEXT, "id": TEXT,
            "outputs": array(
                obj({"name": TEXT, "datatype": TEXT, "shape": SHAPE, "data": VALUES, "parameters": {"type": "object"}},
                    optional=("data", "parameters"))
            ),
        },
        optional=("id",),
    ),
}  # fmt: skip
