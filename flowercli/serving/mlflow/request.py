"""What ``/invocations`` may be asked: MLflow's four forms, checked, and rewritten as the one that costs least.

MLflow reads ``instances`` and ``inputs`` into an array whose every element has the size of the longest text, four
bytes a character: a request of 32 MB can take gigabytes. As ``dataframe_split`` it does not.
"""

from __future__ import annotations

import json
from typing import Any

from flowercli.inference import DEFAULT_TOP_K

COLUMN = "image"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# Characters that no encoding of a file has, for text that MLflow's columns cannot hold.
NOT_BASE64 = "?"
VALUES_A_PICTURE, OTHER_VALUES = 8, 100


class RefusedError(Exception):
    """A request that is answered with a status and one sentence, which never repeats what was sent."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def rewritten(body: bytes, most: int) -> bytes:
    """Return the request in the form ``dataframe_split``.

    Args:
        body: JSON in one of MLflow's four forms.
        most: how many pictures it may have.

    Raises:
        RefusedError: it is not, or it has more pictures.
    """
    # A value follows a comma or a bracket; a picture has a few, one of them in what a browser puts before its text.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > VALUES_A_PICTURE * most + OTHER_VALUES:
        raise RefusedError(413, f"The request has more values than {most} pictures need, and takes at most as many.")
    payload = _parsed(body)
    given = [form for form in FORMS if form in payload]
    if len(given) != 1 or payload.keys() - {*FORMS, "params"}:
        raise RefusedError(400, f"Exactly one of {', '.join(FORMS)}, and params if you like.")
    (form,) = given
    texts = _texts(form, payload[form])
    if len(texts) > most:
        raise RefusedError(413, f"{len(texts)} pictures in one request: at most {most}.")
    rows = [[_text(text, place)] for place, text in enumerate(texts)]
    request = {"dataframe_split": {"columns": [COLUMN], "data": rows}, "params": _params(payload.get("params"))}
    return json.dumps(request).encode()


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "The body is not JSON.") from None
    if not isinstance(payload, dict):
        raise RefusedError(400, "The body is not a JSON object.")
    return payload


def _texts(form: str, value: Any) -> list[Any]:
    """Return the elements of the column ``image``."""
    if form == "dataframe_split":
        return _of_split(value)
    if form == "inputs" and isinstance(value, dict):
        value = value.get(COLUMN) if value.keys() == {COLUMN} else None
        value = [value] if isinstance(value, str) else value
    if not isinstance(value, list):
        raise RefusedError(400, f'{form} is not a list of pictures: [{{"{COLUMN}": "BASE64"}}]')
    if form == "dataframe_records" or any(isinstance(row, dict) for row in value):
        return [_of_record(row, place) for place, row in enumerate(value)]
    return value


def _of_split(value: Any) -> list[Any]:
    columns = value.get("columns") if isinstance(value, dict) else None
    rows = value.get("data") if isinstance(value, dict) else None
    if columns != [COLUMN] or not isinstance(rows, list) or value.keys() - {"columns", "data", "index"}:
        raise RefusedError(400, f'dataframe_split is {{"columns": ["{COLUMN}"], "data": [["BASE64"]]}}')
    if not all(isinstance(row, list) and len(row) == 1 for row in rows):
        raise RefusedError(400, "A row of dataframe_split is not a list of one text.")
    return [row[0] for row in rows]


def _of_record(row: Any, place: int) -> Any:
    if not isinstance(row, dict) or row.keys() != {COLUMN}:
        raise RefusedError(400, f'Picture {place} is not {{"{COLUMN}": "BASE64"}}')
    return row[COLUMN]


def _text(text: Any, place: int) -> str:
    if not isinstance(text, str):
        raise RefusedError(400, f"Picture {place} is not a text.")
    return text if text.isascii() else NOT_BASE64


def _params(params: Any) -> dict[str, int]:
    params = {} if params is None else params
    if not isinstance(params, dict) or params.keys() - {"top_k"}:
        raise RefusedError(400, 'params is {"top_k": NUMBER}, and nothing else.')
    top_k = params.get("top_k", DEFAULT_TOP_K)
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 0 <= top_k < 2**31:
        raise RefusedError(400, "top_k is not a number of classes; 0 is all.")
    return {"top_k": top_k}
