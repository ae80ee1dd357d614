"""``flowers pack``: the photographs of a split dataset in a few large files, for training from a slow disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.output import note, print_json, print_text
from flowercli.errors import DataError, UsageError
from flowercli.shown import in_shell

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def pack(
    directory: Annotated[Path, typer.Argument(metavar="DATA", help="A split dataset, or a downloaded one's name.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the shards.")],
    size: Annotated[str, typer.Option(help="Bytes of photographs in a shard, about: 64MB, 1GB.")] = "256MB",
    json_output: Annotated[bool, typer.Option("--json", help="Print a JSON summary.")] = False,
) -> None:
    """Pack the photographs of a split dataset into shards that `flowers train --data` and WebDataset read.

    Each photograph is held to the split manifest. A pack that was stopped goes on with the same command.
    """
    from flowercli.cli.progress import advancing
    from flowercli.data.manifest import Manifest
    from flowercli.data.pack_shards import Packer
    from flowercli.data.places import find_manifest
    from flowercli.data.shards import is_packed
    from flowercli.installed import dataset_folder

    root = dataset_folder(directory)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder.", hint="flowers pack DATA --output DIR")
    if is_packed(root):
        raise UsageError(f"{root} holds shards already.", hint=f"flowers train --data {in_shell(root)}")
    if (path := find_manifest(root)) is None:
        raise DataError(f"There is no split manifest of {root}.", hint=f"Make one: flowers split {in_shell(root)}")
    packer = Packer(root, Manifest.read(path), output, parse_size(size))
    with advancing() as advance:
        done = packer.pack(advance)
    if json_output:
        found = {"output": str(output), "shards": list(done.names), "kept": done.kept, "photos": done.photos}
        print_json({**found, "bytes": done.size})
        return
    before = f", {done.kept} of them packed before" if done.kept else ""
    note(f"{done.photos:,} photographs in {len(done.names)} shards{before}, {done.size / 10**6:,.1f} MB")
    note(f"flowers train --data {in_shell(output)}")
    print_text(str(output))


def parse_size(text: str) -> int:
    """Parse ``256MB``.

    Raises:
        UsageError: it is no size, or none at all.
    """
    found = re.fullmatch(r"(\d+)\s*(KB|MB|GB)", text.strip().upper())
    if found is None or not int(found[1]):
        raise UsageError(f"--size {text}: not a size.", hint="--size 256MB   (KB, MB or GB)")
    return int(found[1]) * UNITS[found[2]]
