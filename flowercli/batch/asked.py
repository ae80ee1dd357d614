"""What decides an answer beside the picture, and that answers of one kind stand together; no pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowercli import __version__
from flowercli.errors import UsageError
from flowercli.inference.classifier import asked_as
from flowercli.monitoring.features import identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowercli.inference.classifier import Classifier

# What must be as it was when the first answers were given, and what it is called.
FIXED = {"identity": "model", "graph": "graph", "only": "--only", "top_k": "--top-k", "flowers": "version of flowers"}


def deciding(classifier: Classifier, *, top_k: int, only: str | None) -> dict[str, Any]:
    """Return what decides the answers, as JSON holds it."""
    return {
        "flowers": __version__,
        "model": asked_as(classifier.bundle),
        "identity": identity(classifier.bundle),
        "graph": classifier.runtime.graph,
        "only": None if only is None else classifier.answerable,
        "classes": classifier.answerable,
        "top_k": top_k,
    }


def check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], where: object, hint: str) -> None:
    """Refuse to add answers that are not like those that are there.

    Raises:
        UsageError: something else was asked.
    """
    for name, called in FIXED.items():
        if found[name] != wanted[name]:
            shown = "model" if name == "identity" else name
            message = f"{where} has answers of another {called}: {found[shown]}, not {wanted[shown]}."
            raise UsageError(message, hint=hint)
