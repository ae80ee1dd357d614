"""``flowers merge``: one dataset out of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.cli.options import HoldOut, OutliersFolder
from flowercli.cli.output import note, print_json, warn
from flowercli.errors import DataError

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest


def merge(
    directories: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Datasets: folders with one subfolder a class, or names of downloaded ones."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new dataset.")],
    class_names: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Keep this class only; can be repeated.")
    ] = None,
    outliers: OutliersFolder = None,
    hold_out: HoldOut = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON summary instead of tables.")] = False,
) -> None:
    """Merge datasets class by class into a new folder, each photograph on its side of the split.

    The files are hard links where the file system allows it, so they take no space. A dataset that has
    no split yet is split first, as by `flowers split DIR`.
    """
    from flowercli.cli.progress import advancing
    from flowercli.cli.split import as_outliers
    from flowercli.cli.split_report import print_report, summary
    from flowercli.data.merge import merge as merge_datasets
    from flowercli.data.merge import name_sources
    from flowercli.data.places import manifest_path
    from flowercli.installed import dataset_folder

    others = as_outliers(outliers, hold_out)
    sources = name_sources([(root, _manifest(root)) for root in map(dataset_folder, directories)])
    with advancing() as advance:
        result = merge_datasets(sources, output, class_names or [], outliers=others, advance=advance)
    path = manifest_path(output, len(result.split.manifest.photos))
    if json_output:
        print_json(summary(result.split, path) | {"repeated": result.repeated})
        return
    print_report(result.split, path)
    if result.repeated:
        note(f"Left out, because they are there already: {len(result.repeated)} (which: --json)")


def _manifest(root: Path) -> Manifest:
    from flowercli.cli.split import write_showing
    from flowercli.data.changes import added, split_command
    from flowercli.data.manifest import Manifest
    from flowercli.data.places import find_manifest
    from flowercli.data.split import DEFAULT_RATIOS, DEFAULT_SEED

    if not root.is_dir():
        raise DataError(f"{root} is not a folder.", hint="flowers merge DIR DIR --output NEW")
    if (path := find_manifest(root)) is None:
        return write_showing(root, DEFAULT_RATIOS, DEFAULT_SEED)[0].manifest
    manifest = Manifest.read(path)
    if more := added(root, manifest):
        warn(f"since the split of {root} there were {more}, left out; with them: {split_command(root, manifest, None)}")
    return manifest
