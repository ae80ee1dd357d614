"""Read JSON and queries from strangers: bounded before they are parsed, nothing unknown, nothing twice."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from flowercli.errors import ImageError, UsageError
from flowercli.inference.classifier import DEFAULT_TOP_K, Classifier, parse_only
from flowercli.inference.decode import from_base64
from flowercli.serving.http.problems import Problem

# Below this, parsing takes less time than handing it to a thread.
INLINE_BYTES = 256 * 1024
# The others, one after the other: what is parsed takes many times the memory of its text.
LARGE = ThreadPoolExecutor(1, "flowers-json")
# Of objects and texts, beside one for each picture.
MOST_OTHERS = 200

TOP_K, ONLY = "top_k", "only"
MAX_FIELDS = 8
MAX_DIGITS = 9
# More of a name that is none is not repeated.
MAX_NAME = 60


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


def read_query(query: bytes, classifier: Classifier) -> tuple[int, Classifier]:
    """Return how many classes an answer shall list, 0 for all, and what answers among those that may be answered.

    Raises:
        Problem: 422, the query has something else, no such number, or a class that the classifier does not answer.
    """
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Problem(422, "bad_query", "The query has too many fields.") from None
    values = dict(fields)
    if len(values) != len(fields) or not values.keys() <= {TOP_K, ONLY}:
        raise Problem(422, "unknown_field", f"The query has something other than one '{TOP_K}' and one '{ONLY}'.")
    top_k = _read_top_k(values[TOP_K]) if TOP_K in values else DEFAULT_TOP_K
    return top_k, _answering_only(classifier, values[ONLY]) if ONLY in values else classifier


def _read_top_k(text: str) -> int:
    # Longer numbers are refused rather than parsed: what they say is 'all' anyway.
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise Problem(422, "bad_query", f"'{TOP_K}' is not a whole number from 0, for all, to 999999999.")
    return int(text)


def _answering_only(classifier: Classifier, text: str) -> Classifier:
    try:
        return classifier.answering_only([name[:MAX_NAME] for name in parse_only(text)])
    except UsageError as error:
        raise Problem(422, "bad_query", error.message) from None


def refuse_query(query: bytes) -> None:
    """Refuse a query where none is known.

    Raises:
        Problem: 422.
    """
    if query:
        raise Problem(422, "unknown_field", "This address takes no query.")
