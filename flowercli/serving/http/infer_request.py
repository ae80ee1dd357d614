"""Read a request of the Open Inference Protocol (version 2, with Triton's binary tensors) into pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowercli.errors import ImageError
from flowercli.serving.http.problems import Problem, bad_picture, too_many_images
from flowercli.serving.http.strict import check_fields, decode_base64, read_json

if TYPE_CHECKING:
    from flowercli.inference.preprocess import PreprocessSpec
    from flowercli.serving.http.jobs import Input

IMAGE, PIXELS = "image", "pixels"
DATATYPES = {IMAGE: "BYTES", PIXELS: "UINT8"}
OUTPUTS = ("probabilities", "embedding", "known", "predicted_class", "rejected", "reason")
CLASSIFIED = OUTPUTS[0]
HEADER_LENGTH = "inference-header-content-length"
LENGTH_BYTES = 4
MOST_DIGITS = 12
# Of a request, beside the values of its tensor.
JSON_OVERHEAD = 200
# Whose pixels are taken as JSON: Python reads a number in 60 ns, and does nothing else meanwhile.
MOST_IN_JSON = 10
MOST_SIDES = 4


@dataclass(frozen=True)
class Wanted:
    """One output that is asked for: as binary data or in the JSON, and as how many classes in words, if any."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """A request: its id, its pictures, and what is to be told about them."""

    id: str | None
    inputs: list[Input]
    outputs: list[Wanted]


async def read_request(body: bytes, header_length: str | None, spec: PreprocessSpec, limit: int) -> InferRequest:
    """Read a request.

    Args:
        body: JSON, followed by binary tensors if there is a header length; or the bytes of one picture, if that is 0.
        header_length: the value of the header ``Inference-Header-Content-Length``.
        spec: says what shape pixels have.
        limit: of pictures.

    Raises:
        Problem: it does not follow the protocol, asks for something that is not here, or has too many pictures.
    """
    length = _header_length(header_length, len(body))
    if length == 0:
        return InferRequest(None, [body], [Wanted(name, binary=True) for name in OUTPUTS])
    values = min(limit, MOST_IN_JSON) * spec.height * spec.width * 3 + limit + JSON_OVERHEAD
    value = await read_json(body[:length], values, limit)
    check_fields(value, {"id", "parameters", "inputs", "outputs"}, "The request")
    tensor = _only_input(value.get("inputs"))
    identity = value.get("id")
    if "id" in value and not isinstance(identity, str):
        raise _bad("'id' is not a text")
    binary = _flag(_parameters(value), "binary_data_output", default=False)
    wanted = _outputs(value.get("outputs", []), binary=binary)
    return InferRequest(identity, _pictures(tensor, body[length:], spec, limit), wanted)


def _header_length(text: str | None, size: int) -> int:
    if text is None:
        return size
    if not text.isdecimal() or not text.isascii() or len(text) > MOST_DIGITS or int(text) > size:
        raise Problem(400, "bad_request", "Inference-Header-Content-Length is not a length within the request.")
    return int(text)


def _only_input(inputs: object) -> dict[str, Any]:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _bad(f"'inputs' is not a list of one tensor, '{IMAGE}' or '{PIXELS}'")
    tensor = inputs[0]
    check_fields(tensor, {"name", "shape", "datatype", "parameters", "data"}, "The input")
    name = tensor.get("name")
    if not isinstance(name, str) or name not in DATATYPES:
        raise _bad(f"the input is neither '{IMAGE}' nor '{PIXELS}'")
    if tensor.get("datatype") != DATATYPES[name]:
        raise _bad(f"the datatype of '{name}' is {DATATYPES[name]}")
    return tensor


def _pictures(tensor: dict[str, Any], binary: bytes, spec: PreprocessSpec, limit: int) -> list[Input]:
    shape = _shape(tensor.get("shape"))
    if shape[0] > limit:
        raise too_many_images(shape[0], limit)
    if ("data" in tensor) == ("binary_data_size" in _parameters(tensor)):
        raise _bad("the input has not either 'data' or the parameter 'binary_data_size'")
    if "data" not in tensor and _parameters(tensor)["binary_data_size"] != len(binary):
        raise _bad("'binary_data_size' is not what follows the JSON")
    if tensor["name"] == PIXELS:
        return _pixels(tensor, shape, binary, (spec.height, spec.width, 3))
    if shape[1:] not in ([], [1]):
        raise _bad(f"the shape of '{IMAGE}' is [N] or [N, 1]")
    return _from_texts(tensor["data"], shape[0]) if "data" in tensor else _from_bytes(binary, shape[0])


def _pixels(tensor: dict[str, Any], shape: list[int], binary: bytes, sides: tuple[int, int, int]) -> list[Input]:
    if tuple(shape[1:]) != sides:
        raise _bad(f"the shape of '{PIXELS}' is [N, {', '.join(map(str, sides))}]")
    array = _numbers(tensor["data"]) if "data" in tensor else np.frombuffer(binary, np.uint8)
    if array.size != math.prod(shape):
        raise _bad("the number of values is not that of the shape")
    return list(array.reshape(shape))


def _numbers(data: object) -> npt.NDArray[np.uint8]:
    """Return the numbers of a list, nested or flat, as bytes."""
    values = data if isinstance(data, list) else []
    try:
        while values and isinstance(values[0], list):
            if len(set(map(len, values))) > 1:
                raise _bad("'data' is not evenly nested")
            values = list(chain.from_iterable(values))
        # Takes whole numbers of a byte, and nothing else; a text among them is not copied as often as there are others.
        array = np.frombuffer(bytes(values), np.uint8)
    except (TypeError, ValueError):
        array = np.empty(0, np.uint8)
    if not array.size:
        raise _bad("'data' is not a list of whole numbers from 0 to 255")
    return array


def _from_texts(data: object, count: int) -> list[Input]:
    texts = data if isinstance(data, list) else []
    if texts and all(isinstance(item, list) and len(item) == 1 for item in texts):
        texts = [item[0] for item in texts]
    if len(texts) != count or not all(isinstance(text, str) for text in texts):
        raise _bad("'data' is not a list of as many base64 texts as the shape says")
    pictures = [decode_base64(text) for text in texts]
    for place, picture in enumerate(pictures):
        if isinstance(picture, ImageError):
            raise bad_picture(picture, place)
    return list(pictures)


def _from_bytes(binary: bytes, count: int) -> list[Input]:
    """Split elements that each follow their length in four bytes."""
    found: list[Input] = []
    position = 0
    while position + LENGTH_BYTES <= len(binary) and len(found) < count:
        start = position + LENGTH_BYTES
        position = start + int.from_bytes(binary[position:start], "little")
        found.append(binary[start:position])
    if position != len(binary) or len(found) != count:
        raise _bad("the binary data is not as many elements as the shape says")
    return found


def _outputs(outputs: object, *, binary: bool) -> list[Wanted]:
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise _bad("'outputs' is not a list of outputs")
    found = [_wanted(output, binary=binary) for output in outputs]
    # One that is asked for twice is given once.
    wanted = list({output.name: output for output in found}.values())
    return wanted or [Wanted(name, binary) for name in OUTPUTS]


def _wanted(output: dict[str, Any], *, binary: bool) -> Wanted:
    check_fields(output, {"name", "parameters"}, "The output")
    name, parameters = output.get("name"), _parameters(output)
    if name not in OUTPUTS:
        raise _bad(f"the outputs are {', '.join(OUTPUTS)}")
    classes = _whole(parameters.get("classification", 0))
    if classes is None or (classes and name != CLASSIFIED):
        raise _bad(f"'classification' is a number of classes, for '{CLASSIFIED}' only")
    return Wanted(name, _flag(parameters, "binary_data", default=binary), classes)


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    parameters = value.get("parameters", {})
    if not isinstance(parameters, dict):
        raise _bad("'parameters' is not an object")
    return parameters


def _shape(value: object) -> list[int]:
    sides = [_whole(side) for side in value] if isinstance(value, list) and len(value) <= MOST_SIDES else []
    shape = [side for side in sides if side]
    if not shape or len(shape) != len(sides):
        raise _bad("'shape' is not a list of positive whole numbers")
    return shape


def _whole(value: object) -> int | None:
    """Return a whole number of at least zero as it is; JSON does not tell 2 from 2.0."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value % 1 == 0:
        return int(value)
    return None


def _flag(parameters: dict[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise _bad(f"'{name}' is neither true nor false")
    return value


def _bad(what: str) -> Problem:
    return Problem(422, "bad_request", f"{what[0].upper()}{what[1:]}.")
