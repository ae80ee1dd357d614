"""How ``flowers export`` shows what it made, or refused to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from flowercli.bundle import PLAN, Bundle
from flowercli.cli.output import note, print_json, print_table
from flowercli.evaluation.intervals import NONE, share_text
from flowercli.shown import in_shell, percent

if TYPE_CHECKING:
    from flowercli.export.check import Check
    from flowercli.export.package import Packed

COLUMNS = ("File", "Size", "Made by", "Max diff.", "Mean diff.", "Same answer", "Val accuracy", "Lost", "Latency")


def show_export(
    bundle: Bundle,
    checks: Sequence[Check],
    torch_accuracy: Mapping[str, float] | None = None,
    packed: Mapping[str, Packed] | None = None,
    *,
    json_output: bool,
) -> None:
    """Print how the files compare with torch and what the packages are, as tables or as JSON, and what to do with them.

    Args:
        bundle: what was exported.
        checks: of each file; of one that was refused, each attempt.
        torch_accuracy: with its interval; unknown where nothing but packages was made.
        packed: the packages; ``None`` if the export was refused.
        json_output: whether to print JSON: one line for all of it, and one for each package that says more.
    """
    rows = list({(check.file, check.method): check for check in checks}.values())
    packages = packed or {}
    folders = {name: str(one.path) for name, one in packages.items() if one.record is None}
    if json_output:
        if rows or folders:
            print_json(
                {
                    "bundle": str(bundle.path),
                    "torch": None if torch_accuracy is None else {"accuracy": torch_accuracy},
                    "exports": [asdict(check) for check in rows],
                    "packages": folders,
                    "refused": packed is None,
                }
            )
        for one in packages.values():
            if one.record is not None:
                print_json(one.record)
        return
    if rows:
        _print_checks(bundle, rows, torch_accuracy)
    elif folders:
        note(f"{bundle.path} does not record how its graph compares with torch.")
    if torch_accuracy and not folders:
        note(f"Now: flowers classify PICTURE --model {in_shell(bundle.path)}")
    for one in packages.values():
        _show_package(one)


def _show_package(one: Packed) -> None:
    if one.rows:
        print_table(one.columns, one.rows, title=str(one.path), left=one.left, paths=one.paths)
    for line in one.notes:
        note(line)


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
            NONE if check.latency_ms is None else f"{check.latency_ms:.1f} ms",
        )
        for check in checks
    ]
    of_torch = f", which has {share_text(torch_accuracy)}" if torch_accuracy else ""
    timed_on = "one thread of the CPU"
    if any(check.file == PLAN for check in checks):
        timed_on += f", {PLAN} on the GPU"
    title = f"{bundle.path}: against torch{of_torch}; {checks[0].photos} validation photographs, {timed_on}"
    print_table(COLUMNS, rows, title=title, left=("Made by",), paths=("File",))
