"""``flowers tag``: the flower in each picture, as a keyword in its XMP sidecar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.cli.options import BatchSize, Device, Model, Only
from flowercli.cli.output import note
from flowercli.cli.startup import keep_numpy_to_one_thread, uncollected
from flowercli.errors import TaggingError, TaggingInterrupted, UsageError
from flowercli.shown import in_shell
from flowercli.tagging.sidecar import Naming

if TYPE_CHECKING:
    from flowercli.cli.tag_report import TagReport
    from flowercli.inference.classifier import Classifier
    from flowercli.tagging.receipt import Receipt


def tag(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            show_default=False,
            help="Pictures, with those of its subfolders.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be written, and write nothing.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with pictures that come, until Ctrl-C.")] = False,
    undo: Annotated[
        Path | None,
        typer.Option(
            "--undo",
            metavar="RECEIPT",
            exists=True,
            dir_okay=False,
            help="Give sidecars the bytes that they had: undo-….jsonl of the folder.",
        ),
    ] = None,
    sidecar_name: Annotated[
        Naming,
        typer.Option("--sidecar-name", help="How new ones are called: digikam is rose.jpg.xmp, lightroom rose.xmp."),
    ] = Naming.DIGIKAM,
    only: Only = None,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what runs where, and why.")] = False,
) -> None:
    """Write the flower in each picture as a keyword into its XMP sidecar, for digiKam, Lightroom, Immich.

    Pictures are only read. Of a sidecar that is there every other byte stays as it is; what it was is kept in a
    receipt first, from which --undo restores it. Nothing is written for a picture of none of the flowers.

    A raw file gets what the picture of its name beside it shows: IMG_1.CR3 that of IMG_1.JPG.
    """
    if undo is not None:
        from flowercli.cli.undo import take_back

        if folder is not None or dry_run or watch:
            raise UsageError("--undo goes with nothing else.", hint=f"flowers tag --undo {in_shell(undo)}")
        take_back(undo, only_sidecars=True)
        return
    if folder is None:
        raise UsageError("Which folder?", hint="flowers tag FOLDER --dry-run   (shows what it would write)")
    if not dry_run and not os.access(folder, os.W_OK):
        hint = f"flowers tag {in_shell(folder)} --dry-run   (shows what it would write)"
        raise UsageError(f"Writing into {folder} is not permitted.", hint=hint)
    keep_numpy_to_one_thread()
    with uncollected():
        from flowercli.cli.tag_report import TagReport
        from flowercli.inference.classifier import parse_only
        from flowercli.inference.pipeline import open_for_many
        from flowercli.inference.session import requested_device
        from flowercli.models import load_model

        requested_device(device)
        classifier = open_for_many(load_model(model), device, batch_size)
        if only is not None:
            classifier = classifier.answering_only(parse_only(only))
    if verbose:
        note(f"{classifier.bundle.name} on {classifier.runtime.describe()}")
    with ExitStack() as held:
        receipt = None if dry_run else held.enter_context(_receipt(folder))
        report = TagReport(classifier, folder, receipt, in_lines=dry_run or watch, as_json=json_output)
        with _ended(report, watch=watch):
            _tag_all(classifier, folder, receipt, report, sidecar_name, watch=watch)
        code = report.end(is_watch=watch)
    raise typer.Exit(code)


@contextmanager
def _receipt(folder: Path) -> Iterator[Receipt]:
    """Yield the receipt of a run, which is the only one in its folder."""
    from flowercli.locks import alone_in
    from flowercli.tagging.receipt import Receipt
    from flowercli.tagging.writing import PURPOSE

    with alone_in(folder, PURPOSE, partial(note, f"Another run writes sidecars in {folder}: waiting for its end.")):
        yield Receipt(folder)


def _tag_all(
    classifier: Classifier, folder: Path, receipt: Receipt | None, report: TagReport, naming: Naming, *, watch: bool
) -> None:
    from flowercli.cli.interruption import by_sigterm, later
    from flowercli.cli.progress import counting
    from flowercli.inference.cpu import available_cores
    from flowercli.inference.patterns import count_below, walk
    from flowercli.inference.pipeline import classify_stream
    from flowercli.tagging.sidecar import Sidecars
    from flowercli.tagging.tagger import Tagger
    from flowercli.tagging.watch import watched
    from flowercli.tagging.writing import Writer

    place = str(folder)
    if watch:
        note(f"Watching {folder}: pictures are tagged as they come. Ctrl-C ends it.")
    counted: AbstractContextManager[Callable[[], None]] = nullcontext(lambda: None)
    if not report.in_lines:
        counted = counting("pictures", 0, partial(count_below, place))
    with by_sigterm(), Writer() as writer, counted as count:
        tagger = Tagger(classifier, Sidecars(naming), receipt, writer)
        sources = watched(place) if watch else walk(place)
        for result in classify_stream(classifier, sources, workers=available_cores(), top_k=1):
            with later():
                report.take(result, tagger)
            count()


@contextmanager
def _ended(report: TagReport, *, watch: bool) -> Iterator[None]:
    """Say what was done when tagging ends before its end; of watching, Ctrl-C is the end.

    Raises:
        TaggingInterrupted: by Ctrl-C or SIGTERM.
        TaggingError: a disk is full, or the receipt cannot be written.
    """
    from flowercli.cli.interruption import typed

    try:
        yield
    except KeyboardInterrupt:
        if not watch:
            hint = f"Go on with: {typed()}{report.to_undo()}"
            raise TaggingInterrupted(f"Interrupted: {report.said()}", hint=hint) from None
    except TaggingError as error:
        message = f"{error.message} So far: {report.said()}"
        raise TaggingError(message, hint=f"When it can, go on with: {typed()}{report.to_undo()}") from error
