"""Read the query of an address, strictly: nothing unknown, nothing twice."""

from __future__ import annotations

from urllib.parse import parse_qsl

from flowercli.serving.http.problems import Problem

TOP_K = "top_k"
MAX_FIELDS = 8


def read_top_k(query: bytes) -> int | None:
    """Return the number of classes that an answer shall list; all without it.

    Raises:
        Problem: 422, the query has something else, or no whole number of at least one.
    """
    if not query:
        return None
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Problem(422, "bad_query", "The query has too many fields.") from None
    names = [name for name, _ in fields]
    if names != [TOP_K]:
        raise Problem(422, "unknown_field", f"The query has something other than one '{TOP_K}'.")
    text = fields[0][1]
    # Longer numbers are refused rather than parsed: what they say is 'all' anyway.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= 1):  # noqa: PLR2004
        raise Problem(422, "bad_query", f"'{TOP_K}' is not a whole number from 1 to 999999999.")
    return int(text)


def refuse_query(query: bytes) -> None:
    """Refuse a query where none is known.

    Raises:
        Problem: 422.
    """
    if query:
        raise Problem(422, "unknown_field", "This address takes no query.")
