"""Read JSON from strangers: bounded before it is parsed, and nothing in it that is not asked for."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flowercli.errors import ImageError
from flowercli.inference.decode import from_base64
from flowercli.serving.http.problems import Problem

# Below this, parsing takes less time than handing it to a thread.
INLINE_BYTES = 256 * 1024
# The others, one after the other: what is parsed takes many times the memory of its text.
LARGE = ThreadPoolExecutor(1, "flowers-json")
# Of objects and texts, beside one for each picture.
MOST_OTHERS = 200


async def read_json(body: bytes, max_items: int, max_images: int) -> dict[str, Any]:
    """Parse a JSON object of at most ``max_items`` values, most of them numbers or one text a picture.

    Raises:
        Problem: 400, it is no JSON; 422, it is no object, or has too many values.
    """
    if len(body) <= INLINE_BYTES:
        return _parse(body, max_items, max_images)
    return await asyncio.get_running_loop().run_in_executor(LARGE, _parse, body, max_items, max_images)


def check_fields(value: dict[str, Any], known: set[str], where: str) -> None:
    """Refuse members that are not known.

    Raises:
        Problem: 422.
    """
    unknown = sorted(value.keys() - known)
    if unknown:
        raise Problem(422, "unknown_field", f"{where} has '{unknown[0][:40]}'; known are: {', '.join(sorted(known))}.")


def decode_base64(text: object) -> bytes | ImageError:
    """Decode the base64 text of a file; what is none is an outcome of its place, as any bad picture."""
    try:
        return from_base64(text)
    except ImageError as error:
        # As it was raised, it holds the text by its traceback.
        return ImageError(error.code, error.message)


def _parse(body: bytes, max_items: int, max_images: int) -> dict[str, Any]:
    # Each value but the first of a list or object follows a comma; brackets count for nesting. So what the
    # parsed values may take is known before they exist.
    objects, lists = body.count(b"{"), body.count(b"[")
    too_many = (
        objects + lists + body.count(b",") > max_items
        or lists > max_items // 3 + max_images + MOST_OTHERS
        or max(objects, body.count(b'"') // 4) > max_images + MOST_OTHERS
    )
    if too_many:
        raise Problem(422, "too_many_values", f"The JSON has more than {max_items} values; fewer pictures need fewer.")
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        # Its own messages may quote what was sent.
        raise Problem(400, "bad_json", "The request is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise Problem(422, "bad_json", "The JSON is not an object.")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)
