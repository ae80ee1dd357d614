"""JSON: what others wrote that is none is refused wherever it comes from, and what we write is some."""

from __future__ import annotations

import json
import math
import re
from typing import Any

# Half of a character, which JSON can spell and no encoding can hold.
HALF = re.compile(r"\\u[dD][89a-fA-F]")


def loads(text: str) -> Any:
    """Parse a JSON document.

    Raises:
        ValueError: it is none; it has NaN, infinity or half a character, which Python takes and others do not; or it
            is nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
        if HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def dumps(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return a JSON document; a number that is none, or infinite, is ``null`` in it, as JSON has no word for them."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
