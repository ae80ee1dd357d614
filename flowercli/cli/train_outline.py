"""What ``flowers train`` shows of the photographs before it loads anything, and which classes it warns of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.cli.output import note, print_table, stderr_console, warn
from flowercli.data.changes import split_command
from flowercli.data.split import SPLITS

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.training.schema import TrainConfig

SHOWN = 5


def print_outline(config: TrainConfig, manifest: Manifest) -> None:
    """Print on stderr what the run learns from: a line a split, whatever the number of classes; and warn of gaps."""
    note(f"{config.data.path}: {len(manifest.class_names)} classes, {len(manifest.photos)} photographs")
    rows = [_row(manifest, split) for split in SPLITS]
    columns = ("Split", "Photographs", "Smallest class", "Largest class", *(["Outliers"] if manifest.outliers else []))
    print_table(columns, rows, left=("Smallest class", "Largest class"), console=stderr_console())
    for split in SPLITS[1:]:
        _warn_of_gaps(config, manifest, split)


def _row(manifest: Manifest, split: str) -> tuple[str, ...]:
    counts = manifest.counts(split)
    names = sorted(counts, key=counts.__getitem__)
    ends = [f"{counts[name]} {name}" for name in (names[0], names[-1])]
    outliers = [str(len(manifest.outliers_of(split)))] if manifest.outliers else []
    return (split, str(sum(counts.values())), *ends, *outliers)


def _warn_of_gaps(config: TrainConfig, manifest: Manifest, split: str) -> None:
    counts = manifest.counts(split)
    gaps = [name for name, count in counts.items() if not count]
    if not gaps or len(gaps) == len(counts):  # A split without photographs is wanted, or told by what needs it.
        return
    named = ", ".join(gaps[:SHOWN]) + (f" and {len(gaps) - SHOWN} more" if len(gaps) > SHOWN else "")
    one = "class has" if len(gaps) == 1 else "classes have"
    warn(f"{len(gaps)} {one} no photograph in {split}, so nothing is known of them there: {named}.")
    root, data = Path(config.data.path), config.data
    outliers = None if data.outliers is None else Path(data.outliers)
    again = split_command(root, replace(manifest, stratified=True), outliers, data.manifest)
    if manifest.stratified or "--stratify" not in again:
        note("Add photographs of them, and split again.")
    else:
        note(f"To give each class its share: {again}")
