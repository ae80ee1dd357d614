"""How the answers of ``flowers classify`` look: a table on a terminal, plain text in a pipe, or what is asked for."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from flowercli.atomic import is_stream
from flowercli.cli.options import Format
from flowercli.cli.output import check_target, json_line
from flowercli.errors import UsageError
from flowercli.inference.classifier import DEFAULT_TOP_K, Prediction
from flowercli.inference.sources import is_object
from flowercli.shown import in_shell, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Result

    Printer = Callable[[Result], None]


BY_SUFFIX = {
    "": Format.TSV,
    ".tsv": Format.TSV,
    ".txt": Format.TSV,
    ".csv": Format.CSV,
    ".json": Format.JSON,
    ".jsonl": Format.JSON,
    ".ndjson": Format.JSON,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}


class Output(NamedTuple):
    """How answers are to be printed, and where to.

    ``form`` is ``None`` for plain lines without a header; ``top_k`` is ``None`` where nothing was said of it. Of a file
    with ``resume``, what is there stays, and what is missing is added.
    """

    form: Format | None
    top_k: int | None
    file: Path | None = None
    resume: bool = False

    @classmethod
    def choose(
        cls, form: Format | None, top_k: int | None, file: Path | None, *, json: bool, resume: Path | None = None
    ) -> Output:
        """Return what these options of the command line mean.

        Raises:
            UsageError: they contradict each other.
        """
        if json and form not in (None, Format.JSON):
            raise UsageError(f"--json and --format {form} are two formats.", hint="Give one of them.")
        if file is not None and resume is not None:
            raise UsageError("--output begins a file, --resume goes on with one.", hint="Give one of them.")
        option = "--output" if resume is None else "--resume"
        file = resume or file
        if file is not None:
            _check_file(option, file)
        if json:
            form = Format.JSON
        elif form is None and file is not None:
            form = _format_of(option, file)
        elif form is None and sys.stdout.isatty():
            form = Format.TABLE
        if form is Format.TABLE:  # Loaded while the model is.
            import flowercli.cli.classify_table  # noqa: F401
        chosen = cls(form, top_k, file, resume is not None)
        if form is Format.PARQUET and not chosen.is_in_parts:
            raise UsageError("Parquet goes into a file.", hint="Name one: --output answers.parquet")
        if resume is not None and not chosen.is_in_parts:
            what = "A table" if form is Format.TABLE else str(file)
            raise UsageError(f"{what} cannot be gone on with.", hint="Give a file of JSON Lines, CSV, TSV or Parquet.")
        return chosen

    @property
    def is_in_parts(self) -> bool:
        """Whether a file is meant that is written part by part, and can be gone on with."""
        return self.file is not None and self.form is not Format.TABLE and not is_stream(self.file)

    @property
    def classes(self) -> int:
        """How many classes an answer must list, 0 for all."""
        if self.form is Format.CSV:
            return 0
        return DEFAULT_TOP_K if self.top_k is None else self.top_k


def _check_file(option: str, file: Path) -> None:
    """Find what keeps a file from being written, and what was meant for ``--out``, before anything is answered."""
    address = os.fspath(file).replace(":/", "://", 1)
    if is_object(address):
        hint = f"Into a bucket go files of many answers each: --out {in_shell(address.rpartition('/')[0])}"
        raise UsageError(f"{option} is a file of this machine, not {address}.", hint=hint)
    if file.is_dir():
        hint = (
            f"Name a file: {option} {in_shell(file / 'answers.csv')}   (a folder of many files: --out {in_shell(file)})"
        )
        raise UsageError(f"{option} {file} is a folder.", hint=hint)
    check_target(option, file, "answers.csv")


def _format_of(option: str, file: Path) -> Format:
    suffix = file.suffix.lower()
    if suffix not in BY_SUFFIX:
        hint = f"Give --format, or one of {', '.join(filter(None, BY_SUFFIX))}."
        raise UsageError(f"{option} {file}: '{suffix}' is no ending of a format.", hint=hint)
    return BY_SUFFIX[suffix]


@contextmanager
def printing(classifier: Classifier, output: Output) -> Iterator[Printer]:
    """Yield the function that prints one result on stdout, or into what is no file that grows by parts."""
    with written(output.file) as stream:
        show = printer(classifier, output, stream)
        yield _flushing(show) if output.file is None else show


@contextmanager
def written(file: Path | None) -> Iterator[TextIO]:
    """Yield stdout, a device or a pipe, or a file that appears when the block has written it."""
    if file is None:
        yield sys.stdout
        return
    from flowercli.atomic import new_file, open_stream

    if is_stream(file):
        with io.TextIOWrapper(open_stream(file), encoding="utf-8", newline="") as stream:
            yield stream
        return
    with new_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        yield stream


def printer(classifier: Classifier, output: Output, stream: TextIO, *, header: bool = True) -> Printer:
    """Return what writes one result into a stream, in the format that is wanted.

    Args:
        classifier: whose answers they are.
        output: the format, and how many classes are listed.
        stream: where to.
        header: whether rows need one.
    """
    if output.form is Format.JSON:
        return lambda result: _write(stream, json_line(result.as_dict()))
    if output.form is Format.TABLE:
        from flowercli.cli.classify_table import TablePrinter

        return TablePrinter(classifier, output.top_k, None if stream is sys.stdout else stream)
    if output.form is None:
        return lambda result: _write(stream, "\t".join(map(one_line, _plain(result, output.top_k))) + "\n")
    from flowercli.cli.classify_rows import RowPrinter, others_listed

    every = classifier.answerable
    if output.form is Format.CSV:
        return RowPrinter(stream, classes=every, tabs=False, header=header)
    return RowPrinter(stream, others=others_listed(output.top_k, len(every)), tabs=True, header=header)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)


def _flushing(show: Printer) -> Printer:
    """Return a printer after each of whose lines whoever reads the pipe, and may wait for it, has it."""

    def show_now(result: Result) -> None:
        show(result)
        sys.stdout.flush()

    return show_now


@contextmanager
def counter(output: Output, arguments: Sequence[str], before: int) -> Iterator[Callable[[], None]]:
    """Count the pictures on stderr while the answers go elsewhere; silent where stderr is no terminal.

    How many there are, a thread finds out meanwhile.
    """
    if (output.file is None and sys.stdout.isatty()) or not sys.stderr.isatty():
        yield lambda: None
        return
    from flowercli.cli.progress import counting
    from flowercli.inference.sources import how_many

    with counting("pictures", before, partial(how_many, arguments)) as count:
        yield count


def _plain(result: Result, top_k: int | None) -> list[str]:
    """Return path, class, confidence, and why it is rejected or nothing; or path, 'error', code, message.

    Where a number of classes was asked for, the others follow with their probabilities.
    """
    outcome = result.outcome
    if not isinstance(outcome, Prediction):
        return [result.path, "error", outcome.code, outcome.message]
    fields = [result.path, outcome.predicted_class, f"{outcome.confidence:.4f}"]
    if top_k is None:
        return fields + ([outcome.reason] if outcome.reason else [])
    others = list(outcome.all_predictions.items())[1:]
    return [*fields, outcome.reason or "", *(part for name, value in others for part in (name, f"{value:.4f}"))]
