"""``flowers classify``: which flower is in each picture."""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.cli.options import (
    Add,
    Address,
    AnswerLog,
    AnswerLogRows,
    BatchSize,
    Device,
    Engine,
    EngineOption,
    Format,
    Into,
    Model,
    Only,
    Out,
    PartSize,
    Retry,
    ShardOption,
)
from flowercli.cli.startup import Ahead, keep_numpy_to_one_thread, uncollected
from flowercli.errors import UsageError, needs_extra
from flowercli.inference import DEFAULT_TOP_K
from flowercli.monitoring import MAX_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

    from flowercli.cli.classify_output import Output
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Result

    Sorting = tuple[Callable[[Iterable[str]], Iterable[str]], Callable[[Iterable[Result]], Iterable[Result]]]


def classify(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Pictures, folders (with their subfolders), globs, URLs, s3://… or - for stdin (paths, or a picture).",
            show_default=False,
        ),
    ],
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines: one object a picture; with --out, what was done.")
    ] = False,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            show_default="a table on a terminal, plain lines in a pipe",
            help="table, tsv, csv, json or, into a file, parquet. csv has the probability of every class.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write them into one new file; the ending says the format."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", metavar="FILE", help="Go on with such a file, or begin it: what it has is not asked again."
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            "-k",
            metavar="N",
            show_default=str(DEFAULT_TOP_K),
            help="Classes to list for each picture; 0 for all.",
        ),
    ] = None,
    only: Only = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="HOW",
            help="One answer for the pictures of a plant: folder, name (rose_1, rose_2) or time:30s between them.",
        ),
    ] = None,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy the pictures there, a folder a flower, rejected ones into _refused."),
    ] = None,
    move_to: Annotated[Path | None, typer.Option(metavar="DIR", help="Move them there. Both can be undone.")] = None,
    log: AnswerLog = None,
    log_max_rows: AnswerLogRows = MAX_ROWS,
    out: Out = None,
    shard: ShardOption = None,
    engine: EngineOption = Engine.LOCAL,
    address: Address = None,
    add: Add = False,
    retry: Retry = False,
    part_size: PartSize = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what runs where, and why.")] = False,
) -> None:
    """Tell which flower is in each picture.

    Answers come in the order of the pictures, each as soon as it is known. A picture that cannot be
    read is reported in its place, the others are answered, and the exit code is 3.

    With --out they become files of a folder or bucket: the same command, here or elsewhere, answers what is missing.
    """
    keep_numpy_to_one_thread()
    if out is not None:
        from flowercli.cli.classify_batch import check_alone, classify_into

        into = Into(out, shard, engine, address, add, retry, part_size)
        others: dict[str, object] = {"--format": form, "--output": output, "--resume": resume}
        others |= {"--copy-to": copy_to, "--move-to": move_to, "--log": log, "--group": group}
        check_alone(into, others)
        code = classify_into(
            into,
            paths,
            _paths_on_stdin(),
            model=model,
            device=device,
            batch_size=batch_size,
            only=only,
            top_k=top_k,
            as_json=json_lines,
            verbose=verbose,
        )
        raise typer.Exit(code)
    _check_no_place(shard, address, part_size, asked=add or retry or engine is not Engine.LOCAL)
    with uncollected():
        from flowercli.cli.answer_log import logged
        from flowercli.cli.classify_output import Output
        from flowercli.cli.classify_printing import print_all
        from flowercli.cli.output import note
        from flowercli.inference.classifier import check_top_k, parse_only
        from flowercli.inference.cpu import available_cores
        from flowercli.inference.pipeline import classify_stream, open_for_many
        from flowercli.inference.session import requested_device
        from flowercli.models import load_model

        wanted = Output.choose(form, top_k, output, json=json_lines, resume=resume)
        put_together = None if group is None else _grouping(group, wanted, copy_to or move_to)
        if wanted.is_in_parts:
            _check_begun(wanted, move_to)
        check_top_k(wanted.classes)
        requested_device(device)
        workers = available_cores()
        ahead = context.obj.take() if isinstance(context.obj, Ahead) else None
        classifier = ahead or open_for_many(load_model(model), device, batch_size)
        if only is not None:
            classifier = classifier.answering_only(parse_only(only))
    if verbose:
        note(f"{classifier.bundle.name} on {classifier.runtime.describe()}")
    sources = _listed(paths, _paths_on_stdin())
    file = None
    if wanted.is_in_parts and put_together is None:
        from flowercli.cli.answer_file import AnswerFile

        file = AnswerFile(wanted, classifier, paths, only)
        sources = file.missing(sources)
    with logged(classifier, log, log_max_rows) as answering, _sorted(classifier, copy_to, move_to) as (outside, sort):
        classes = wanted.classes if put_together is None else 0
        results = classify_stream(answering, outside(sources), workers=workers, top_k=classes, fetcher=_fetcher)
        if put_together is not None:
            results = put_together(results, classifier, wanted.classes)
        code = print_all(sort(results), classifier, wanted, file, paths)
    raise typer.Exit(code)


def _listed(paths: list[str], stdin: TextIO) -> Iterator[str]:
    """Yield the pictures that the arguments mean; object stores need an extra."""
    from flowercli.inference.sources import expand, is_object

    if not any(map(is_object, paths)):
        return expand(paths, stdin)
    with needs_extra("batch"):
        from flowercli.batch.places import listed
    return listed(paths, stdin)


def _fetcher(path: str) -> Callable[[str], bytes] | None:
    """Return what fetches a picture; ``None`` for one of this machine."""
    from flowercli.inference.ahead import by_web
    from flowercli.inference.sources import is_object

    if not is_object(path):
        return by_web(path)
    with needs_extra("batch"):
        from flowercli.batch.places import fetch_object
    return fetch_object


def _check_no_place(*values: object, asked: bool) -> None:
    if asked or any(value is not None for value in values):
        raise UsageError(
            "--shard, --engine, --address, --add, --retry and --part-size say how a place is filled.",
            hint="Give it: --out PLACE",
        )


def _grouping(
    how: str, wanted: Output, into: Path | None
) -> Callable[[Iterable[Result], Classifier, int], Iterator[Result]]:
    """Return what puts results together.

    Raises:
        UsageError: something else is wanted that has an answer for each picture.
    """
    from flowercli.inference.groups import grouped, parse_group

    group = parse_group(how)
    if wanted.resume or wanted.form is Format.PARQUET or into is not None:
        message = "--group goes neither with --resume and Parquet nor with --copy-to and --move-to."
        raise UsageError(message, hint="Each picture by itself: the same without --group")
    return lambda results, classifier, top_k: grouped(results, group, classifier, top_k)


def _sorted(classifier: Classifier, copy_to: Path | None, move_to: Path | None) -> AbstractContextManager[Sorting]:
    """Return which pictures are meant, and what puts them into folders as their answers pass, if that is wanted."""
    if copy_to is None and move_to is None:
        return nullcontext((lambda sources: sources, lambda results: results))
    from flowercli.cli.classify_sorting import sorted_into

    return sorted_into(classifier, copy_to, move_to)


def _paths_on_stdin() -> TextIO:
    """Return stdin as it must be read for file names, which on Linux may be any bytes."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    return sys.stdin


def _check_begun(wanted: Output, move_to: Path | None) -> None:
    """Find before the model is opened that a file is there already, or cannot be gone on with."""
    from flowercli.cli.answer_file import check_new

    assert wanted.file is not None
    if not wanted.resume:
        check_new(wanted.file)
    elif move_to is not None:
        message = (
            "--resume does not go with --move-to: what a killed run moved, and had not written yet, is not found again."
        )
        raise UsageError(message, hint="Give --copy-to, or another --output.")
