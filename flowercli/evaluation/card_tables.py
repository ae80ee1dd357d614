"""The tables of the model card that a small dataset does without: sources, refusal, and what is confused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowercli.evaluation.confusion import confused_pairs
from flowercli.evaluation.intervals import share_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAIRS_SHOWN = 25


def sources(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield how each dataset of a merged one fares."""
    if not (rows := metrics.get("by_source")):
        return
    yield "| source | photographs | accuracy | kept, not refused |"
    yield "|---|---|---|---|"
    for source, row in rows.items():
        yield f"| {source} | {row['photos']} | {share_text(row['accuracy'], 1)} | {share_text(row['kept'], 1)} |"
    yield ""


def refusal(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield what becomes of pictures that show none of the classes, by kind."""
    if not (found := metrics.get("refusal")):
        return
    yield (
        f"Of photographs of its classes it keeps {share_text(found['kept'], 1)}; of {found['pictures']} pictures that "
        f"show none of them it refuses {share_text(found['refused'], 1)} (AUROC {found['auroc']:.4f}):\n"
    )
    by_kind = found.get("by_kind", {})  # What ships has it in its card only.
    if by_kind:
        yield "| kind | pictures | refused |"
        yield "|---|---|---|"
    for kind, row in by_kind.items():
        yield f"| {kind} | {row['photos']} | {share_text(row['refused'], 1)} |"
    yield ""


def confused(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield the pairs of classes that are taken for each other most often."""
    if not (pairs := confused_pairs(metrics)):
        return
    yield "Most often confused:\n"
    yield "| is | named | times | of |"
    yield "|---|---|---|---|"
    for pair in pairs[:PAIRS_SHOWN]:
        yield f"| {pair.target} | {pair.named} | {pair.times} | {pair.photos} |"
    yield ""
