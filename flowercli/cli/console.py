"""rich's console, with nothing in what it prints that could steer a terminal but its own styles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from flowercli import shown


class SafeConsole(Console):
    """A console whose text is safe to see, and whose stderr may be full, closed or read by nobody any more."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the parts of what is printed; their styles become escapes later."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else shown.lines(text), style, control)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, or on stderr do without; but for a terminal without the room that rich leaves at the end of lines."""
        try:
            if self.is_terminal or options.get("end", "\n") != "\n":
                super().print(*objects, **options)
                return
            # A pager, or `head`, on a terminal that is narrower than the pipe would break the lines in it.
            with self.capture() as printed:
                super().print(*objects, **options)
            self.file.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))
            self.file.flush()
        except OSError:
            if not self.stderr:
                raise
            self.quiet = True

    def on_broken_pipe(self) -> None:
        """Go on without a stderr that nobody reads; rich would end the program."""
        if not self.stderr:
            super().on_broken_pipe()
        self.quiet = True
