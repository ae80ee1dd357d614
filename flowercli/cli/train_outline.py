"""What ``flowers train`` shows of the photographs before it loads anything, and which classes it warns of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.cli.output import note, print_table, stderr_console, warn
from flowercli.data.changes import stratified_command
from flowercli.data.split import SPLITS
from flowercli.shown import counted

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.training.schema import TrainConfig

SHOWN = 3


def print_outline(config: TrainConfig, manifest: Manifest) -> None:
    """Print on stderr what the run learns from: a line a split, whatever the number of classes; and warn of gaps."""
    note(f"{config.data.path}: {len(manifest.class_names)} classes, {counted(len(manifest.photos), 'photograph')}")
    rows = [_row(manifest, split) for split in SPLITS]
    columns = ("Split", "Photographs", "Smallest class", "Largest class", *(["Outliers"] if manifest.outliers else []))
    print_table(columns, rows, left=("Smallest class", "Largest class"), console=stderr_console())
    _warn_of_gaps(config, manifest)


def _row(manifest: Manifest, split: str) -> tuple[str, ...]:
    counts = manifest.counts(split)
    names = sorted(counts, key=counts.__getitem__)
    ends = [f"{counts[name]} {name}" for name in (names[0], names[-1])]
    outliers = [str(len(manifest.outliers_of(split)))] if manifest.outliers else []
    return (split, str(sum(counts.values())), *ends, *outliers)


def _warn_of_gaps(config: TrainConfig, manifest: Manifest) -> None:
    gaps = {split: [name for name, count in manifest.counts(split).items() if not count] for split in SPLITS[1:]}
    # A split without photographs is wanted, or told by what needs it.
    told = {split: names for split, names in gaps.items() if 0 < len(names) < len(manifest.class_names)}
    for split, names in told.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        warn(f"no photograph in {split} of {len(names)} of the classes: {', '.join(names[:SHOWN])}{more}.")
    if told:
        data = config.data
        outliers = None if data.outliers is None else Path(data.outliers)
        again = stratified_command(Path(data.path), manifest, outliers, data.manifest)
        without = f"Add photographs and split again{'' if manifest.stratified else ', with --stratify'}."
        note(without if again is None else f"To give each class its share: {again}")
