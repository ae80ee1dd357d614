"""How ``flowers eval --find-label-errors`` shows the labels it suspects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.cli.output import note, print_table
from flowercli.shown import percent, probability

if TYPE_CHECKING:
    from flowercli.evaluation.label_errors import LabelErrors

# With more suspects than this share, it is the classifier that is wrong.
TOO_MANY = 0.2


def print_label_errors(errors: LabelErrors) -> None:
    """Print a row for each suspect, the least probable label first."""
    rows = [(row.path, row.labelled, row.looks_like, probability(row.probability), row.split) for row in errors.rows]
    accuracy = percent(errors.accuracy)
    title = f"{len(rows)} of {errors.photos} labels are doubtful (accuracy out of fold {accuracy})"
    columns = ("Photo", "Labelled", "Looks like", "Probability", "Split")
    print_table(columns, rows, title=title, left=("Labelled", "Looks like", "Split"), paths=("Photo",))
    tell_limits(errors)


def tell_limits(errors: LabelErrors) -> None:
    """Say on stderr what the list is worth."""
    if len(errors.rows) > TOO_MANY * errors.photos:
        note("So many suspects mean that the model is too weak to judge the labels: train a better one first.")
    note(
        "The embeddings are of a model that was trained on the labels of the training split: there it finds fewer "
        "errors than there are. Look at each photograph before changing its label."
    )
