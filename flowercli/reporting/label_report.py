"""``flowers eval --find-label-errors --report FILE``: the doubtful photographs themselves, on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.atomic import write_text
from flowercli.data.shards import photographs_at
from flowercli.reporting import page
from flowercli.reporting.gallery import thumbnail
from flowercli.shown import percent, probability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flowercli.evaluation.label_errors import LabelError, LabelErrors

# Some eight kilobytes each.
MOST_SHOWN = 200


def write_label_report(path: Path, errors: LabelErrors) -> None:
    """Write the page of the suspects, the least probable label first.

    Args:
        path: the file, which is replaced if it is there.
        errors: with the folder of the photographs.

    Raises:
        ImageError: a photograph cannot be read.
    """
    title = f"Doubtful labels, seen by {errors.bundle.path.name}"
    write_text(path, page.page(title, _header(errors), [_suspects(errors)]))


def _header(errors: LabelErrors) -> Iterator[str]:
    yield page.paragraph(f"{len(errors.rows):,} of {errors.photos:,} labels are doubtful.", "lead")
    yield page.paragraph(
        "A classifier that has not seen a photograph's label finds another one more probable. It reads the embeddings "
        "of a model that was trained on the labels of the training split: there it finds fewer errors than there are. "
        "Look at each photograph before changing its label."
    )
    accuracy = percent(errors.accuracy)
    yield page.facts([("Bundle", errors.bundle.name), ("Accuracy out of fold", accuracy), page.written()])


def _suspects(errors: LabelErrors) -> str:
    shown = errors.rows[:MOST_SHOWN]
    if not shown:
        return page.section("Photographs", page.paragraph("No label is doubtful."))
    sources = photographs_at(errors.data.root, errors.data.manifest, [row.path for row in shown])
    cards = zip(shown, sources, strict=True)
    parts = [page.gallery((thumbnail(source), _said(row), f"{row.path} ({row.split})") for row, source in cards)]
    if len(shown) < len(errors.rows):
        parts.insert(0, page.paragraph(f"The first {len(shown)}; all of them: --find-label-errors --json."))
    return page.section("Photographs, the least probable label first", *parts)


def _said(row: LabelError) -> str:
    return f"{row.labelled}? Looks like {row.looks_like} ({probability(row.probability)})"
