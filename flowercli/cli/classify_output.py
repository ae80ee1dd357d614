"""How the answers of ``flowers classify`` look: a table on a terminal, plain text in a pipe, or what is asked for."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from flowercli.cli.options import Format
from flowercli.cli.output import check_target, json_line
from flowercli.errors import UsageError
from flowercli.inference.classifier import DEFAULT_TOP_K, Prediction
from flowercli.shown import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
}


class Output(NamedTuple):
    """How answers are to be printed, and where to.

    ``form`` is ``None`` for plain lines without a header; ``top_k`` is ``None`` where nothing was said of it.
    """

    form: Format | None
    top_k: int | None
    file: Path | None = None

    @classmethod
    def choose(cls, form: Format | None, top_k: int | None, file: Path | None, *, json: bool) -> Output:
        """Return what these options of the command line mean.

        Raises:
            UsageError: they contradict each other.
        """
        if json and form not in (None, Format.JSON):
            raise UsageError(f"--json and --format {form} are two formats.", hint="Give one of them.")
        if file is not None:
            check_target("--output", file, "answers.csv")
        if json:
            form = Format.JSON
        elif form is None and file is not None:
            form = _format_of(file)
        elif form is None and sys.stdout.isatty():
            form = Format.TABLE
        if form is Format.TABLE:  # Loaded while the model is.
            import flowercli.cli.classify_table  # noqa: F401
        return cls(form, top_k, file)

    @property
    def classes(self) -> int:
        """How many classes an answer must list, 0 for all."""
        if self.form is Format.CSV:
            return 0
        return DEFAULT_TOP_K if self.top_k is None else self.top_k


def _format_of(file: Path) -> Format:
    suffix = file.suffix.lower()
    if suffix not in BY_SUFFIX:
        hint = f"Give --format, or one of {', '.join(filter(None, BY_SUFFIX))}."
        raise UsageError(f"--output {file}: '{suffix}' is no ending of a format.", hint=hint)
    return BY_SUFFIX[suffix]


@contextmanager
def printing(classifier: Classifier, output: Output) -> Iterator[Printer]:
    """Yield the function that prints one result; a file appears when all of them are in it."""
    with written(output.file) as stream:
        show = _printer(classifier, output, stream)
        yield _flushing(show) if output.file is None else show


@contextmanager
def written(file: Path | None) -> Iterator[TextIO]:
    """Yield stdout, or a file that appears when the block has written it."""
    if file is None:
        yield sys.stdout
        return
    from flowercli.atomic import new_file

    with new_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        yield stream


def _printer(classifier: Classifier, output: Output, stream: TextIO) -> Printer:
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
        return RowPrinter(stream, classes=every, tabs=False)
    return RowPrinter(stream, others=others_listed(output.top_k, len(every)), tabs=True)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)


def _flushing(show: Printer) -> Printer:
    """Return a printer after each of whose lines whoever reads the pipe, and may wait for it, has it."""

    def show_now(result: Result) -> None:
        show(result)
        sys.stdout.flush()

    return show_now


@contextmanager
def counter(output: Output) -> Iterator[Callable[[], None]]:
    """Count the pictures on stderr while the answers go elsewhere; silent where stderr is no terminal."""
    if (output.file is None and sys.stdout.isatty()) or not sys.stderr.isatty():
        yield lambda: None
        return
    from flowercli.cli.progress import counting

    with counting("pictures") as count:
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
