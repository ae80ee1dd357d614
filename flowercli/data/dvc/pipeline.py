"""The pipeline template: ``dvc.yaml`` and ``params.yaml`` for ``dvc repro``, made of the program's own commands."""

from __future__ import annotations

import math
import re
from importlib import resources
from pathlib import Path

import yaml

from flowercli.atomic import write_text
from flowercli.data.scan import scan_dataset
from flowercli.errors import UsageError

# What double quotes do not keep from a shell, and halves of characters: bytes of a name that are no text.
UNQUOTABLE = re.compile('[$`\\\\"\x00-\x1f\ud800-\udfff]')
STAGES, PARAMETERS = "dvc.yaml", "params.yaml"


def write_pipeline(folder: Path, dataset: Path, model: str) -> list[Path]:
    """Write the two files, and return them.

    Args:
        folder: of the pipeline; the commands run in it.
        dataset: the photographs, in or below ``folder``.
        model: what ``flowers train --model`` takes.

    Raises:
        UsageError: one of the files is there already, or the dataset is elsewhere.
        DataError: it cannot be used as a dataset.
    """
    scan_dataset(dataset)
    inside = dataset.resolve()
    if not inside.is_relative_to(folder.resolve()) or inside == folder.resolve():
        raise UsageError(f"{dataset} is not a folder inside {folder}.", hint="Move it there, or go where it is.")
    for name in (STAGES, PARAMETERS):
        if (folder / name).exists():
            raise UsageError(f"There is a {name} here already.", hint=f"Remove or rename it: mv {name} {name}.old")
    values = {"@DATA@": inside.relative_to(folder.resolve()).as_posix(), "@MODEL@": model}
    for value in values.values():
        if UNQUOTABLE.search(value):
            message = f"{value!a} cannot stand in a command that DVC gives to a shell."
            raise UsageError(message, hint='Rename it: without $, `, \\, " and what is no text.')
    written = []
    for name in (STAGES, PARAMETERS):
        text = (resources.files("flowercli.data.dvc") / "template" / name).read_text(encoding="utf-8")
        for placeholder, value in values.items():
            text = text.replace(placeholder, _in_yaml(value))
        write_text(folder / name, text)
        written.append(folder / name)
    return written


def _in_yaml(text: str) -> str:
    return str(yaml.safe_dump(text, allow_unicode=True, default_style='"', width=math.inf)).rstrip("\n")
