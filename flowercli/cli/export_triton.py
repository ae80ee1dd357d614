"""``flowers export --triton``: write the model repository and say how to serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.shown import in_shell

if TYPE_CHECKING:
    from pathlib import Path

# Stock images of one release a month; <yy.mm> is for the user to choose, by driver and GPU.
IMAGE = "nvcr.io/nvidia/tritonserver:<yy.mm>-py3"


def check_triton(target: Path | None, backend: str) -> None:
    """Refuse a repository that cannot be written before other exports take minutes."""
    from flowercli.export.triton import check_request

    if target is not None:
        check_request(target, backend)


def export_triton(model: str, target: Path, backend: str, *, json_output: bool) -> None:
    """Write the repository of a bundle, given by path or by the name of one that ships, and print what it is."""
    from flowercli.cli.output import note, print_json, print_table
    from flowercli.export.triton import write_repository
    from flowercli.models import load_model

    repository = write_repository(load_model(model), target, backend)
    if json_output:
        print_json(repository.as_dict())
        return
    runner = f"{backend} ({repository.graph})"
    takes = ("the bytes of pictures", "the bytes of pictures", "pixels")
    answers = "probabilities, embedding, known"
    gives = (answers, "pixels", answers)
    run_by = ("ensemble of the two below", "python", runner)
    rows = zip(repository.models, takes, gives, run_by, strict=True)
    print_table(("Model", "Takes", "Gives", "Run by"), rows, title=str(target), left=("Takes", "Gives", "Run by"))
    note(f"The server's Python needs: pip install -r {in_shell(target / 'requirements.txt')}")
    note(f"Now, in {IMAGE}: tritonserver --model-repository={in_shell(target.resolve())}")
