"""``flowers data``: datasets and models under DVC in the user's own repository, shared through S3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.cli.output import note, print_json, print_table, print_text
from flowercli.errors import needs_extra
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.data.dvc.tracked import Status

data = typer.Typer(
    help="Keep datasets and models in a repository of your own with DVC, and share them through S3.",
    no_args_is_help=True,
)
EXTRA = "data"
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@data.command("init")
def init(
    remote: Annotated[str, typer.Option(metavar="URL", help="Where the bytes go: s3://BUCKET/PREFIX.")],
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The S3 server, if it is not Amazon's: http://127.0.0.1:9000.")
    ] = None,
    no_scm: Annotated[bool, typer.Option("--no-scm", help="Use the current folder without Git.")] = False,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not ask the remote whether it can be used.")] = False,
) -> None:
    """Make this Git repository ready for datasets and models: DVC with a remote on S3.

    Running it again changes nothing, or the address of the remote. Nothing is committed. Credentials come from the
    usual places of AWS (AWS_ACCESS_KEY_ID, AWS_PROFILE, ~/.aws, roles) and are never written.
    """
    with needs_extra(EXTRA):
        from flowercli.data.dvc.remote import checked
        from flowercli.data.dvc.repository import init as make_ready

        endpoint = None if endpoint_url is None else checked("--endpoint-url", endpoint_url)
        result = make_ready(checked("--remote", remote), endpoint, no_scm=no_scm, check=not no_check)
    for step in result.done or [f"{result.root} uses {result.url} already"]:
        note(f"{step[:1].upper()}{step[1:]}.")
    _tell_commit(result.commit)
    note("Now: flowers data push FOLDER")


@data.command("push")
def push(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A dataset or a model bundle inside the repository.")],
    json_output: Json = False,
) -> None:
    """Track a dataset (as one archive) or a model (as a folder) with DVC, and send it to the remote.

    What is there already is not sent again; a push that was killed goes on where it was. Prints the .dvc file.
    """
    from flowercli.cli.download_progress import resumable
    from flowercli.cli.progress import advancing_bytes

    with needs_extra(EXTRA):
        from flowercli.data.dvc import push_pull
        from flowercli.data.dvc.tracked import shown

        with resumable(), advancing_bytes() as advance:
            result = push_pull.push(path, advance)
    what = f"{shown(result.path)}, a {result.kind} of {result.size / 1e6:.1f} MB"
    note(f"Sent {what}." if result.objects_sent else f"The remote has {what} already.")
    _tell_commit(result.commit)
    file = shown(result.commit[0])
    if json_output:
        print_json(
            {"path": shown(result.path), "kind": result.kind, "dvc_file": file, "md5": result.md5}
            | {"size": result.size, "objects_sent": result.objects_sent}
        )
    else:
        print_text(file)


@data.command("pull")
def pull(
    path: Annotated[Path | None, typer.Argument(metavar="[PATH]", help="One of them; everything by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace folders that hold something else.")] = False,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Read a public bucket without credentials.")] = False,
    json_output: Json = False,
) -> None:
    """Fetch the datasets and models that the repository's .dvc files name; datasets are unpacked.

    What is there already is not fetched again; a pull that was killed goes on where it was. Prints the folders.
    """
    from flowercli.cli.download_progress import downloading

    with needs_extra(EXTRA):
        from flowercli.data.dvc import push_pull
        from flowercli.data.dvc.tracked import shown

        with downloading() as progress:
            results = push_pull.pull(path, progress, force=force, anonymous=anonymous)
    if json_output:
        rows = [{"path": shown(r.path), "kind": r.kind, "md5": r.md5, "changed": r.changed} for r in results]
        print_json({"pulled": rows})
        return
    if not results:
        note("Nothing is tracked yet: flowers data push FOLDER")
    for result in results:
        if not result.changed:
            note(f"{shown(result.path)} is current.")
        print_text(shown(result.path))


@data.command("status")
def status(
    local: Annotated[bool, typer.Option("--local", help="Do not ask the remote.")] = False,
    json_output: Json = False,
) -> None:
    """Show what is tracked: whether the folders are what was pushed, and whether the remote has it.

    If the remote cannot be asked, what is known here is shown all the same, and the exit code is 1.
    """
    from dataclasses import asdict

    with needs_extra(EXTRA):
        from flowercli.data.dvc import push_pull

        found, trouble = push_pull.status(ask_remote=not local)
    if json_output:
        print_json({"tracked": [asdict(entry) for entry in found]})
    else:
        _print_status(found)
    if trouble is not None:
        raise trouble


@data.command("pipeline")
def pipeline(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder with one subfolder a class.")],
    model: Annotated[str, typer.Option(help="A config of the group 'model', or any timm model name.")] = "rexnet_150",
) -> None:
    """Write dvc.yaml and params.yaml into the current folder: split, train, eval, export, for dvc repro.

    Existing files are never replaced.
    """
    from flowercli.data.dvc.pipeline import write_pipeline

    for path in write_pipeline(Path.cwd(), dataset, model):
        print_text(path.name)
    note("Now: dvc repro && dvc metrics show && dvc plots show")


def _print_status(found: Sequence[Status]) -> None:
    if not found:
        note("Nothing is tracked yet: flowers data push FOLDER")
        return
    remote = {True: "pushed", False: "not pushed", None: "not asked"}
    rows = [
        (e.path, e.kind, f"{e.size / 1e6:.1f} MB", e.state, "yes" if e.cached else "no", remote[e.pushed], e.md5[:12])
        for e in found
    ]
    columns = ("Path", "Kind", "Size", "Here", "In the cache", "Remote", "MD5")
    print_table(columns, rows, left=("Kind", "Here", "In the cache", "Remote", "MD5"), paths=("Path",))


def _tell_commit(files: Sequence[Path]) -> None:
    from flowercli.data.dvc.tracked import shown

    if files:
        note(f"To commit: git add {' '.join(in_shell(shown(path)) for path in files)}")
