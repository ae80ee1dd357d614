"""Options that several commands have, word for word the same in each."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from flowercli.cli import completion
from flowercli.inference import MOST_A_BATCH


class Engine(StrEnum):
    """What answers the parts of `flowers classify --out`."""

    LOCAL = "local"
    RAY = "ray"


class Into(NamedTuple):
    """Where the answers of ``flowers classify --out`` go, and who answers."""

    out: str
    shard: str | None
    engine: Engine
    address: str | None
    add: bool
    retry: bool
    part_size: int | None


class Format(StrEnum):
    """What the answers of ``flowers classify`` can be printed as."""

    TABLE = "table"
    TSV = "tsv"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


# What answers where no model is named.
DEFAULT_MODEL = "garden, or what FLOWERS_MODEL says"


def finite(value: float | None) -> float | None:
    """Refuse infinity and what is no number, which every range of Typer's lets pass; an option's ``callback``."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter("not a finite number.")
    return value


Device = Annotated[
    str | None,
    typer.Option(
        autocompletion=completion.devices,
        show_default="auto, or what FLOWERS_DEVICE says",
        help="auto, tensorrt, cuda or cpu.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        autocompletion=completion.models,
        show_default=DEFAULT_MODEL,
        help="A name from `flowers models`, a bundle folder or a .onnx file.",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="NAMES",
        autocompletion=completion.flowers,
        help="Answer among these flowers alone, such as daisy,rose,tulip.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        metavar="N",
        min=1,
        max=MOST_A_BATCH,
        show_default="1 on a CPU, measured on a GPU",
        help="Pictures that the model is asked about at once.",
    ),
]
AnswerLog = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Log features of pictures and answers there, for `flowers drift`; no picture."),
]
AnswerLogRows = Annotated[
    int, typer.Option(metavar="N", min=1, help="Answers to keep in the log; the oldest are dropped.")
]


def _into(name: str, metavar: str | None = None, **more: Any) -> Any:
    """Return an option that says how a place is filled."""
    panel = "Into a folder or bucket, by any number of runs and machines"
    return typer.Option(name, metavar=metavar, rich_help_panel=panel, **more)


WRITES = "Write Parquet files there, a folder or s3://…: what is there already is not asked again."
Out = Annotated[str | None, _into("--out", "PLACE", help=WRITES)]
ShardOption = Annotated[str | None, _into("--shard", "K/N", help="Only the K-th of N shares; the first plans.")]
EngineOption = Annotated[Engine, _into("--engine", help="This machine, or a cluster of Ray's.")]
OF_CLUSTER, HERE = "Of the cluster: auto, or HOST:PORT of its head.", "a Ray of this machine alone"
Address = Annotated[str | None, _into("--address", "ADDRESS", show_default=HERE, help=OF_CLUSTER)]
Add = Annotated[bool, _into("--add", help="List again, and append what has come since.")]
Retry = Annotated[bool, _into("--retry", help="Ask again where photographs could not be fetched.")]
PartSize = Annotated[int | None, _into("--part-size", "N", min=1, show_default="2000", help="Photographs in a file.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        envvar="FLOWERS_ALLOW_HOST",
        metavar="NAME",
        help="Name that it answers to besides, such as my.example.org; repeat for more; '*' for any.",
    ),
]
OutliersFolder = Annotated[
    Path | None,
    typer.Option(
        "--outliers",
        metavar="DIR",
        help="Pictures that show none of the classes, a subfolder a kind: to learn refusal.",
    ),
]
HoldOut = Annotated[
    list[str] | None,
    typer.Option("--hold-out", metavar="KIND", help="Keep this kind of outliers for testing; can be repeated."),
]
