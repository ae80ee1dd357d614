"""JSON as others may have written it: what is no JSON, or no text, is refused wherever it comes from."""

from __future__ import annotations

import json
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


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
