"""``flowers download dataset``: a dataset from a public place, an address or a file, into class folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercli.cli.options import finite
from flowercli.cli.output import note, print_json, print_table, print_text, stderr_console, warn
from flowercli.errors import UsageError
from flowercli.shown import in_shell, percent

if TYPE_CHECKING:
    from flowercli.data.datasets import DatasetSource
    from flowercli.data.get_dataset import Dataset
    from flowercli.transfer.contract import Patience

SOURCE_HELP = (
    "tensorflow, kaggle, oxford17, oxford102; dvc with --repo and --path; or an archive: its path, or an https, http, "
    "file or s3 address."
)


def dataset(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)] = "tensorflow",
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="The sha256 that the archive must have.")] = None,
    url: Annotated[str | None, typer.Option(help="A mirror of a named source: where its archive is.")] = None,
    repo: Annotated[
        str | None, typer.Option(metavar="PATH_OR_URL", help="Of the source dvc: a Git or DVC repository.")
    ] = None,
    path: Annotated[str | None, typer.Option(help="Of the source dvc: the archive's path in the repository.")] = None,
    rev: Annotated[
        str | None, typer.Option(help="Of the source dvc: a branch, tag or commit of the repository.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it; by default after the archive.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to make; by default in the data directory."),
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="Failures in a row that end it.")] = 5,
    timeout: Annotated[
        float, typer.Option(callback=finite, min=0.1, help="Seconds of silence after which a try has failed.")
    ] = 20,
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON summary instead of the path.")] = False,
) -> None:
    """Download a dataset, verify it and print its folder.

    A download that was interrupted goes on with the same command. Once it is there, `flowers split`,
    `merge` and `train --data` take its name in place of a folder.
    """
    from flowercli.data.datasets import IN_REPOSITORY, InRepository, find_source
    from flowercli.transfer.contract import Patience

    place = InRepository(repo, path, rev) if repo and path else None
    if place is None and (repo or path or rev):
        raise UsageError("--repo and --path belong together.", hint=IN_REPOSITORY)
    found = find_source(source, url=url, sha256=sha256, name=name, place=place)
    result = _download(found, output, Patience(retries=retries, timeout=timeout))

    if json_output:
        print_json(_summary(result))
    else:
        print_text(result.entry.path)


def _download(source: DatasetSource, output: Path | None, patience: Patience) -> Dataset:
    from flowercli.cli.download_progress import downloading
    from flowercli.data.get_dataset import get_dataset

    with downloading() as progress:
        result = get_dataset(source, output, progress, patience)
    _report(result)
    return result


def _report(result: Dataset) -> None:
    """Show the class table and what is odd, on stderr."""
    total = sum(result.counts.values())
    if not result.new:
        note(f"{result.entry.name} is there already, since {result.entry.installed_at}.")
    rows = [(name, str(count), percent(count / total)) for name, count in sorted(result.counts.items())]
    print_table(("Class", "Photos", "Share"), [*rows, ("all", str(total), "")], console=stderr_console())
    for path, reason in result.unreadable[:5]:
        warn(f"{path}: {reason}")
    if result.unreadable:
        warn(f"{len(result.unreadable)} photographs cannot be read; later commands leave them out (all: --json).")
    if result.expected not in (None, total):
        warn(f"It should have {result.expected} photographs.")
    known = result.entry.path if result.entry.where else result.entry.name
    by_folder = " --by-folder" if result.is_split else ""
    note(f"Next: flowers split {in_shell(known)}{by_folder}")


def _summary(result: Dataset) -> dict[str, Any]:
    entry = result.entry
    return {
        "name": entry.name,
        "path": str(entry.path),
        "source": entry.source,
        "revision": entry.revision,
        "sha256": entry.sha256,
        "size": entry.size,
        "photos": sum(result.counts.values()),
        "counts": dict(sorted(result.counts.items())),
        "unreadable": [{"path": path, "reason": reason} for path, reason in result.unreadable],
        "new": result.new,
    }
