"""Read the query of an address, strictly: nothing unknown, nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from flowercli.errors import UsageError
from flowercli.inference.classifier import DEFAULT_TOP_K, parse_only
from flowercli.serving.http.problems import Problem

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier

TOP_K, ONLY = "top_k", "only"
MAX_FIELDS = 8
MAX_DIGITS = 9
# More of a name that is none is not repeated.
MAX_NAME = 60


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
