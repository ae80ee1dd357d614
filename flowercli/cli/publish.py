"""``flowers publish``: a bundle to the Hugging Face Hub."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path


def publish(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle folder, or the name of a model.")],
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="OWNER/NAME on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make the new repository private.")] = False,
    message: Annotated[str, typer.Option("--message", help="What the commit says.")] = "A flowers bundle",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the bundle and list what would be sent.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Upload a bundle to the Hub, where `flowers download model` finds it, and print its address.

    Every file is checked first; paths of this machine are left out. A repository that exists gets a new commit if it
    holds a bundle, and is left alone if it holds anything else. HF_TOKEN has to be a token that may write.
    """
    from flowercli.cli.download_progress import DownloadProgress
    from flowercli.cli.output import note, print_json, print_text
    from flowercli.hub.client import patience
    from flowercli.hub.publish import contents, target
    from flowercli.hub.publish import publish as send
    from flowercli.models import load_model

    target(repo_id)
    loaded = load_model(bundle)
    if dry_run:
        _list(contents(loaded), repo_id, json_output=json_output)
        return
    note(f"Sending {loaded.path} to {repo_id}")
    progress = sys.stderr.isatty()
    done = send(loaded, repo_id, DownloadProgress(), patience(), private=private, message=message, progress=progress)
    who = "Anyone with access" if done.private else "Anyone"
    note(f"{who} gets it with: flowers download model {done.repo_id}@{done.commit}")
    if json_output:
        print_json({"repo_id": done.repo_id, "url": done.url, "commit": done.commit, "private": done.private})
    else:
        # The one line of data: where it is.
        print_text(done.url)


def _list(files: dict[str, bytes | Path], repo_id: str, *, json_output: bool) -> None:
    from flowercli.cli.output import note, print_json, print_table

    sizes = {name: len(file) if isinstance(file, bytes) else file.stat().st_size for name, file in files.items()}
    if json_output:
        print_json({"repo_id": repo_id, "files": sizes})
    else:
        print_table(("File", "Size"), [(name, f"{size / 1e6:.2f} MB") for name, size in sizes.items()])
    note(f"Nothing was sent. To send it to {repo_id}, leave out --dry-run.")
