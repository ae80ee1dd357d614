"""``flowers publish``: a bundle to the Hugging Face Hub."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.cli.output import note, print_json, print_table, print_text

if TYPE_CHECKING:
    from flowercli.hub.publish import Plan, Repository


def publish(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle folder, or the name of a model.")],
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="OWNER/NAME on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make the new repository private.")] = False,
    message: Annotated[str, typer.Option("--message", help="What the commit says.")] = "A flowers bundle",
    license_id: Annotated[
        str | None,
        typer.Option(
            "--license", metavar="ID", help="The licence that the card states: apache-2.0, cc-by-4.0, …; else none."
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove files of the version there that this bundle lacks.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the bundle, and list what would be sent, stay and go.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Upload a bundle to the Hub, where `flowers download model` finds it, and print its address.

    Every file is checked first; paths of this machine are left out. A repository that exists gets a new commit if it
    holds a bundle, and is left alone if it holds anything else. Nothing there is removed without --prune, and a card
    that people corrected stays. HF_TOKEN has to be a token that may write.
    """
    from flowercli.cli.download_progress import DownloadProgress
    from flowercli.hub import publish as hub
    from flowercli.hub.client import is_offline, patience
    from flowercli.models import load_model

    target, listener = hub.target(repo_id), DownloadProgress()
    loaded = load_model(bundle)
    if dry_run:
        hub.check(loaded)
        there = None if is_offline() else hub.look(target, listener, patience())
        _list(hub.plan(loaded, there, license_id), repo_id, there, json_output=json_output)
        return
    note(f"Sending {loaded.path} to {repo_id}")
    done = hub.publish(
        loaded,
        repo_id,
        listener,
        patience(),
        private=private,
        message=message,
        prune=prune,
        license_id=license_id,
        progress=sys.stderr.isatty(),
    )
    _tell(done.plan)
    who = "Anyone with access" if done.private else "Anyone"
    note(f"{who} gets it with: flowers download model {done.repo_id}@{done.commit}")
    if json_output:
        stated = {"private": done.private, "license": done.plan.license_id}
        files = {"kept": done.plan.kept, "removed": done.plan.removed}
        print_json({"repo_id": done.repo_id, "url": done.url, "commit": done.commit, **stated, **files})
    else:
        # The one line of data: where it is.
        print_text(done.url)


def _list(plan: Plan, repo_id: str, there: Repository | None, *, json_output: bool) -> None:
    sizes = {name: len(file) if isinstance(file, bytes) else file.stat().st_size for name, file in plan.sent.items()}
    if json_output:
        files = {"files": sizes, "kept": plan.kept, "removed": plan.removed}
        print_json({"repo_id": repo_id, **files, "license": plan.license_id})
    else:
        rows = [(name, f"{size / 1e6:.2f} MB", "is sent") for name, size in sizes.items()]
        rows += [(name, "", "stays there") for name in plan.kept]
        rows += [(name, "", "is removed, with --prune") for name in plan.removed]
        print_table(("File", "Size", ""), rows, left=("",), paths=("File",))
    _tell(plan)
    if there is None:
        note(f"There is no {repo_id} yet, or it was not asked for, or only a token may see it.")
    note(f"Nothing was sent. To send it to {repo_id}, leave out --dry-run.")


def _tell(plan: Plan) -> None:
    """Say what a person may not expect of a publication."""
    from flowercli.bundle import CARD

    if CARD in plan.kept:
        note(f"The {CARD} there stays as it is.")
    if plan.license_id is None:
        note("The card states no licence: whoever may give one does with --license ID.")
    else:
        note(f"The card states the licence {plan.license_id}.")
