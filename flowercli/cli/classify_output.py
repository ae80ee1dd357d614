"""How the answers of ``flowers classify`` look: JSON Lines, a table on a terminal, plain text in a pipe."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowercli.cli.output import print_json, stderr_console
from flowercli.inference.classifier import Prediction
from flowercli.shown import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Result

    Printer = Callable[[Result], None]


def load_printer(*, json_lines: bool) -> None:
    """Load what ``choose_printer`` will need."""
    if not json_lines and sys.stdout.isatty():
        import flowercli.cli.classify_table  # noqa: F401


@contextmanager
def choose_printer(classifier: Classifier, *, json_lines: bool) -> Iterator[Printer]:
    """Yield the function that prints one result."""
    if json_lines:
        yield _print_json_line
    elif sys.stdout.isatty():
        from flowercli.cli.classify_table import TablePrinter

        yield TablePrinter(classifier)
    else:
        yield _print_plain


@contextmanager
def counter() -> Iterator[Callable[[], None]]:
    """Count the pictures on stderr while the answers go elsewhere; silent where stderr is no terminal."""
    if sys.stdout.isatty() or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} pictures"), TimeElapsedColumn())
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        task = progress.add_task("classify", total=None)
        yield lambda: progress.advance(task)


def _print_json_line(result: Result) -> None:
    print_json(result.as_dict())
    # Whoever reads the pipe may wait for this very line.
    sys.stdout.flush()


def _print_plain(result: Result) -> None:
    """Tab-separated: path, class, confidence, and why it is rejected or nothing; or path, 'error', code, message."""
    outcome = result.outcome
    if isinstance(outcome, Prediction):
        fields = [result.path, outcome.predicted_class, f"{outcome.confidence:.4f}"]
        fields += [outcome.reason] if outcome.reason else []
    else:
        fields = [result.path, "error", outcome.code, outcome.message]
    sys.stdout.write("\t".join(map(one_line, fields)) + "\n")
    # Whoever reads the pipe may wait for this very line.
    sys.stdout.flush()
