"""How ``flowers export`` shows what it made, or refused to make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.bundle import PLAN
from flowercli.cli.output import note, print_json, print_table
from flowercli.export.delivery import CLIENT
from flowercli.shown import in_shell, percent
from flowercli.training.intervals import share_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from flowercli.bundle import Bundle
    from flowercli.export.check import Check

COLUMNS = ("File", "Size", "Made by", "Max diff.", "Mean diff.", "Same answer", "Val accuracy", "Lost", "Latency")


def show_export(
    bundle: Bundle,
    checks: Sequence[Check],
    torch_accuracy: Mapping[str, float] | None = None,
    packages: Mapping[str, Path] | None = None,
    *,
    json_output: bool,
) -> None:
    """Print how the files compare with torch, as a table or as JSON, and what to do with them.

    Args:
        bundle: what was exported.
        checks: of each file; of one that was refused, each attempt.
        torch_accuracy: with its interval; unknown where nothing but packages was made.
        packages: the folder of each package; ``None`` if the export was refused.
        json_output: whether to print JSON.
    """
    rows = list({(check.file, check.method): check for check in checks}.values())
    if json_output:
        folders = {name: str(folder) for name, folder in (packages or {}).items()}
        print_json(
            {
                "bundle": str(bundle.path),
                "torch": None if torch_accuracy is None else {"accuracy": torch_accuracy},
                "exports": [check.as_dict() for check in rows],
                "packages": folders,
                "refused": packages is None,
            }
        )
        return
    if rows:
        _print_checks(bundle, rows, torch_accuracy)
    elif packages:
        note(f"{bundle.path} does not record how its graph compares with torch.")
    if packages is not None:
        _say_next(bundle, packages)


def _print_checks(bundle: Bundle, checks: Sequence[Check], torch_accuracy: Mapping[str, float] | None) -> None:
    rows = [
        (
            check.file,
            f"{check.size / 1e6:.2f} MB",
            check.method,
            f"{check.max_difference:.1e}",
            f"{check.mean_difference:.1e}",
            percent(check.agreement, 2),
            share_text(check.accuracy),
            f"{check.drop:.2f} pt",
            "–" if check.latency_ms is None else f"{check.latency_ms:.1f} ms",
        )
        for check in checks
    ]
    of_torch = f", which has {share_text(torch_accuracy)}" if torch_accuracy else ""
    timed_on = "one thread of the CPU"
    if any(check.file == PLAN for check in checks):
        timed_on += f", {PLAN} on the GPU"
    title = f"{bundle.path}: against torch{of_torch}; {checks[0].photos} validation photographs, {timed_on}"
    print_table(COLUMNS, rows, title=title, left=("Made by",), paths=("File",))


def _say_next(bundle: Bundle, packages: Mapping[str, Path]) -> None:
    commands = {
        "mlflow": "mlflow models serve --env-manager local --model-uri {0}",
        "delivery": "python {0} PICTURE",
    }
    for name, folder in packages.items():
        what = folder / CLIENT if name == "delivery" else folder
        note(f"Now: {commands[name].format(in_shell(what))}")
    if not packages:
        note(f"Now: flowers classify PICTURE --model {in_shell(bundle.path)}")
