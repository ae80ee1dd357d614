"""``flowers split``: decide which photograph is for training, validation and test, and write it down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercli.cli.options import HoldOut, OutliersFolder
from flowercli.cli.output import print_json
from flowercli.errors import UsageError

if TYPE_CHECKING:
    from flowercli.data.make_split import Outliers, SplitResult


def split(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Dataset: a folder with one subfolder a class, or a downloaded one's name."),
    ],
    ratios: Annotated[str, typer.Option(help="Shares of train, val and test.")] = "0.9,0.05,0.05",
    seed: Annotated[int, typer.Option(help="Seed of the split, as for torch.Generator().manual_seed.")] = 2024,
    stratify: Annotated[bool, typer.Option("--stratify", help="Keep the classes' proportions in every split.")] = False,
    by_folder: Annotated[
        bool,
        typer.Option("--by-folder", help="Keep the split of a dataset with folders train, val (or valid) and test."),
    ] = False,
    outliers: OutliersFolder = None,
    hold_out: HoldOut = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the manifest there instead of into the dataset.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON summary instead of tables.")] = False,
) -> None:
    """Split a folder of photographs into train, val and test, and write the manifest.

    The same photographs, ratios and seed always give the split of torch.utils.data.random_split
    over the sorted files; copies of one photograph stay on one side.
    """
    from flowercli.cli.split_report import print_report, summary
    from flowercli.installed import dataset_folder

    root = dataset_folder(directory)
    others = as_outliers(outliers, hold_out)
    how: dict[str, Any] = {"stratify": stratify, "by_folder": by_folder, "outliers": others}
    result, path = write_showing(root, parse_ratios(ratios), seed, output=output, **how)
    if json_output:
        print_json(summary(result, path))
    else:
        print_report(result, path)


def as_outliers(folder: Path | None, hold_out: Sequence[str] | None) -> Outliers | None:
    """Return what the options ``--outliers`` and ``--hold-out`` say.

    Raises:
        UsageError: kinds to hold out of no folder.
    """
    from flowercli.data.make_split import Outliers

    if folder is None and hold_out:
        raise UsageError("--hold-out names kinds of outliers.", hint="Say where they are: --outliers DIR")
    return None if folder is None else Outliers(folder, tuple(hold_out or ()))


def write_showing(
    root: Path, ratios: Sequence[float], seed: int, *, output: Path | None = None, **how: Any
) -> tuple[SplitResult, Path]:
    """Write the manifest of a dataset as :func:`flowercli.data.make_split.write_split` does, with a progress bar."""
    from flowercli.cli.progress import advancing
    from flowercli.data.make_split import write_split

    with advancing() as advance:
        return write_split(root, ratios, seed, output=output, advance=advance, **how)


def parse_ratios(text: str) -> tuple[float, ...]:
    """Parse ``0.9,0.05,0.05``, with percent signs or without.

    Raises:
        UsageError: a part is not a number.
    """
    try:
        return tuple(float(part) for part in text.replace("/", ",").split(","))
    except ValueError:
        raise UsageError(f"--ratios {text}: not three numbers.", hint="--ratios 0.9,0.05,0.05") from None
