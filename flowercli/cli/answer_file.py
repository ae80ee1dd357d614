"""``--output`` and ``--resume`` of ``flowers classify``: a file that grows by parts, each of which is there whole.

While a run goes on, or after it was ended, ``.NAME.run.json`` beside the file records what was asked. It goes with the
last part; of what is answered within one part, nothing but the file is ever seen.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flowercli import json_text, locks
from flowercli.atomic import append_bytes, write_bytes, write_text
from flowercli.batch.asked import check_same, deciding
from flowercli.cli.interruption import by_sigterm, later, typed_with
from flowercli.cli.options import Format
from flowercli.cli.output import note
from flowercli.errors import BatchError, BatchInterrupted, UsageError
from flowercli.inference.sources import STDIN, is_elsewhere
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flowercli.cli.answers_before import Before
    from flowercli.cli.classify_output import Output
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Result

# A part is so many answers, or those of so many seconds: what a run that is killed has to do again.
PART_ROWS, PART_SECONDS = 2_000, 5.0
OPTIONS = ("--output", "-o", "--resume")


class Parts(Protocol):
    """What a format does with answers."""

    def add(self, result: Result) -> None:
        """Take an answer."""

    def keep(self) -> None:
        """Put a part of those that were taken where a killed process leaves it.

        Raises:
            OSError: it cannot be written; none of it is there then, and it is still to be kept.
        """

    def end(self) -> None:
        """Make the file of all answers, those that were not kept yet too.

        Raises:
            OSError: it cannot be written.
        """


class TextParts:
    """Lines: the first part makes the file, each other one is appended to it, and written through to the disk."""

    def __init__(self, file: Path, printing: Callable[[io.StringIO], Callable[[Result], None]], *, begun: bool) -> None:
        self._file, self._begun = file, begun
        self._lines = io.StringIO(newline="")
        self.add = printing(self._lines)

    def keep(self) -> None:
        """Append what was taken; what cannot be written whole is taken off again."""
        content = self._lines.getvalue().encode()
        if self._begun:
            append_bytes(self._file, content)
        else:
            write_bytes(self._file, content)
        self._begun = True
        self._lines.seek(0)
        self._lines.truncate()

    def end(self) -> None:
        """Append the last part."""
        if self._lines.tell() or not self._begun:
            self.keep()


class AnswerFile:
    """The file of a run, from the options of the command line on.

    Raises:
        UsageError: it is there and was not to be resumed, has other answers, or another run writes it.
        BatchError: it is damaged.
    """

    def __init__(self, output: Output, classifier: Classifier, arguments: Sequence[str], only: str | None) -> None:
        assert output.file is not None
        self.named, self.file = output.file, Path(os.path.realpath(output.file))
        self._asked = deciding(classifier, top_k=output.classes, only=only)
        self._asked |= {"run": uuid.uuid4().hex, "folder": str(Path.cwd())}
        self._alone = ExitStack()
        self._kept, self._waiting, self._since = 0, 0, time.monotonic()
        self._is_locked = self._is_recorded = self._has_failed = False
        self._is_parquet = output.form is Format.PARQUET
        self.before: Before | None = None
        if output.resume:
            self._lock()
            self._asked |= self._found(arguments)
            self.before = self._read(output, classifier)
        self._parts = self._made(output, classifier)

    def missing(self, sources: Iterator[str]) -> Iterator[str]:
        """Yield those sources that have no answer in the file."""
        return sources if self.before is None else filter(self.before.lacks, sources)

    @contextmanager
    def printing(self) -> Iterator[Callable[[Result], None]]:
        """Yield what takes one answer; all of them are in the file in the end, however the block ends.

        Raises:
            BatchInterrupted: by Ctrl-C or SIGTERM; `--resume` goes on.
            BatchError: the file cannot be written.
        """
        with self._alone, by_sigterm():
            try:
                yield self._take
                with later():
                    self._end()
            except KeyboardInterrupt:
                with suppress(KeyboardInterrupt):
                    self._keep()
                if not self._kept:
                    raise
                raise BatchInterrupted(f"Interrupted. {self._said()}", hint=f"Go on with: {self._command()}") from None
            except BaseException:
                if self._has_failed:
                    raise
                with suppress(OSError, BatchError):
                    self._keep()
                if self._kept:
                    note(f"{self._said()} Go on with: {self._command()}")
                raise

    def _take(self, result: Result) -> None:
        self._parts.add(result)
        self._waiting += 1
        if self._waiting >= PART_ROWS or time.monotonic() - self._since >= PART_SECONDS:
            self._keep()

    def _keep(self) -> None:
        """Write a part."""
        if not self._waiting:
            return
        with later(), self._explained():
            if not self._is_recorded:
                self._begin()
            self._parts.keep()
            self._kept, self._waiting, self._since = self._kept + self._waiting, 0, time.monotonic()

    def _begin(self) -> None:
        """Say of the file that it is not whole, before it is there."""
        if self.before is None:
            self._lock()
            check_new(self.named)
        write_text(_record(self.file), json_text.dumps(self._asked, indent=2, ascii_only=True) + "\n")
        self._is_recorded = True

    def _end(self) -> None:
        if self.before is None and not self._is_recorded:
            check_new(self.named)
        with self._explained():
            self._parts.end()
        self._kept, self._waiting = self._kept + self._waiting, 0
        if self._is_locked or not locks.is_held(self.file):  # Also one of a run whose file was deleted.
            _record(self.file).unlink(missing_ok=True)
        if self._is_locked:
            self._alone.close()
            self.file.with_name(f".{self.file.name}.lock").unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._has_failed = True
            message = f"{self.named} cannot be written: {error.strerror or error}."
            if not self._kept:
                raise BatchError(message, hint="Give another --output.") from error
            hint = f"When it can, go on with: {self._command()}"
            raise BatchError(f"{message} {self._said()}", hint=hint) from error

    def _lock(self) -> None:
        if self._is_locked:
            return
        if locks.is_held(self.file):
            raise UsageError(f"Another run writes {self.named}.", hint="Wait for its end, or give another --output.")
        self._alone.enter_context(locks.alone(self.file))
        self._is_locked = True

    def _found(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return what an interrupted run asked, which must be what is asked now."""
        try:
            found = dict(json.loads(_record(self.file).read_text(encoding="utf-8")))
        except FileNotFoundError:
            self._check_folder(arguments)
            return {}
        except (ValueError, TypeError) as error:
            raise BatchError(f"{_record(self.named)} is damaged.", hint="Delete it, and run this again.") from error
        from flowercli.cli.answers_before import HINT

        self._is_recorded = True
        check_same(found, self._asked, self.named, HINT)
        self._check_folder(arguments, found["folder"])
        return {"run": found["run"], "folder": found["folder"]}

    def _check_folder(self, arguments: Sequence[str], folder: str | None = None) -> None:
        """Refuse relative paths, and lists, which may hold some, from another folder than the one of the first run."""
        if folder is None and self._is_parquet:
            from flowercli.cli.answers_before import folder_of

            folder = folder_of(self.file)
        here = any(
            argument == STDIN or (not is_elsewhere(argument) and not Path(argument).is_absolute())
            for argument in arguments
        )
        if here and folder not in {None, self._asked["folder"]}:
            message = f"{self.named} was begun in {folder}: paths from here are others."
            raise UsageError(message, hint=f"cd {in_shell(str(folder))}")

    def _read(self, output: Output, classifier: Classifier) -> Before | None:
        from flowercli.cli.answers_before import parquet_before, text_before

        if self._is_parquet:
            before = parquet_before(self.file, self._asked)
        else:
            there = _holds_something(self.file)
            before = text_before(self.file, output, classifier, self._asked["folder"]) if there else None
        if before is None:
            note(f"There is no {self.named} yet: it begins.")
        else:
            self._kept = before.count
            note(self._said())
        return before

    def _made(self, output: Output, classifier: Classifier) -> Parts:
        if self._is_parquet:
            from flowercli.cli.answer_parquet import ParquetParts

            return ParquetParts(self.file, self._asked)
        from flowercli.cli.classify_output import printer

        begun = self.before is not None

        def printing(stream: io.StringIO) -> Callable[[Result], None]:
            return printer(classifier, output, stream, header=not begun)

        return TextParts(self.file, printing, begun=begun)

    def _said(self) -> str:
        return f"{self.named} has {self._kept:,} answer{'s' * (self._kept != 1)}."

    def _command(self) -> str:
        return _going_on(self.named)


def check_new(file: Path) -> None:
    """Refuse to write over answers.

    Raises:
        UsageError: there is something in the file, or are parts of it.
    """
    from flowercli.cli.answers_before import parts_of

    parts = parts_of(Path(os.path.realpath(file)))
    if _holds_something(file) or parts.is_dir():
        there = file if _holds_something(file) else parts
        hint = f"Go on with it: {_going_on(file)}   (or delete {in_shell(there)})"
        raise UsageError(f"--output {file}: {there} is there.", hint=hint)


def _going_on(file: Path) -> str:
    """Return the command that does what is left; what was moved lies elsewhere, and its answers stay in this file."""
    if any(word.partition("=")[0] == "--move-to" for word in sys.argv):
        return typed_with(OPTIONS, "--output", str(file.with_stem(f"{file.stem}-2")))
    return typed_with(OPTIONS, "--resume", str(file))


def _holds_something(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def _record(file: Path) -> Path:
    return file.with_name(f".{file.name}.run.json")
