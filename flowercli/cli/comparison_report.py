"""How ``flowers eval --against`` shows two bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.cli.output import note, print_table, stdout_console
from flowercli.evaluation.intervals import share_text
from flowercli.shown import counted

if TYPE_CHECKING:
    from flowercli.evaluation.comparison import Comparison


def print_comparison(comparison: Comparison) -> None:
    """Print both accuracies, where they disagree, and what that means."""
    sides = (("A", comparison.a), ("B", comparison.b))
    rows = [
        (f"{letter}  {side.bundle.path.name}", side.variant, str(side.right), share_text(side.accuracy))
        for letter, side in sides
    ]
    title = f"{comparison.split}: {counted(comparison.photos, 'photograph')}, 95 % intervals"
    print_table(("", "Weights", "Right", "Accuracy"), rows, title=title, left=("Weights",))
    counts = (
        ("Both are right", comparison.both),
        ("Only A is right", comparison.only_a),
        ("Only B is right", comparison.only_b),
        ("Both are wrong", comparison.neither),
    )
    print_table(("", "Photos"), [(words, str(count)) for words, count in counts])
    value, low, high = (100 * comparison.difference[key] for key in ("value", "low", "high"))
    console = stdout_console()
    console.print(f"Accuracy of A minus B: {value:+.1f} points ({low:+.1f} to {high:+.1f})", markup=False)
    console.print(comparison.conclusion, markup=False)
    if not comparison.training_known:
        note("B does not say which photographs it was trained on: if these were among them, the comparison flatters B.")
