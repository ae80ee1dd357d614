"""How ``flowers split`` shows what it made and what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.cli.output import note, print_table, warn
from flowercli.data.split import SPLITS
from flowercli.shown import percent

if TYPE_CHECKING:
    from flowercli.data.make_split import SplitResult

SHOWN = 5
IMBALANCED = 1.5


def summary(result: SplitResult, path: Path) -> dict[str, Any]:
    """Return the result as ``flowers split --json`` prints it."""
    manifest = result.manifest
    return {
        "manifest": str(path),
        "dataset_sha256": manifest.dataset_sha256,
        "seed": manifest.seed,
        "ratios": list(manifest.ratios),
        "stratified": manifest.stratified,
        "counts": {split: manifest.counts(split) for split in SPLITS},
        "imbalance": round(imbalance(result), 4),
        "near_duplicates_checked": manifest.near_duplicates_checked,
        "exact_duplicates": result.exact,
        "near_duplicates": result.near,
        "outliers": {split: dict(Counter(o.class_name for o in manifest.outliers_of(split))) for split in SPLITS},
        "conflicting_labels": result.conflicting,
        "copies_across_splits": result.across,
        "classes_not_in_train": not_in_train(result),
        "unreadable": [{"path": name, "reason": reason} for name, reason in result.unreadable],
        "hidden": result.scan.hidden,
        "other_files": result.scan.other_files,
        "links_outside": result.scan.outside_links,
        "dead_links": result.scan.dead_links,
        "odd_names": result.scan.odd_names,
        "closed_folders": result.scan.closed_folders,
        "empty_classes": result.scan.empty_classes,
    }


def imbalance(result: SplitResult) -> float:
    """Return the size of the largest class over that of the smallest."""
    sizes = [sum(result.manifest.counts(split)[name] for split in SPLITS) for name in result.manifest.class_names]
    return max(sizes) / min(sizes)


def not_in_train(result: SplitResult) -> list[str]:
    """Return the classes that no model can learn from this split."""
    return [name for name, count in result.manifest.counts("train").items() if not count]


def print_report(result: SplitResult, path: Path) -> None:
    """Print the class table on stdout and everything odd on stderr."""
    manifest = result.manifest
    counts = {split: manifest.counts(split) for split in SPLITS}
    total = len(manifest.photos)
    rows = []
    for name in manifest.class_names:
        parts = [counts[split][name] for split in SPLITS]
        rows.append((name, *map(str, parts), str(sum(parts)), percent(sum(parts) / total)))
    sums = [sum(counts[split].values()) for split in SPLITS]
    rows.append(("all", *map(str, sums), str(total), f"imbalance {imbalance(result):.2f}"))
    if manifest.outliers:
        parts = [len(manifest.outliers_of(split)) for split in SPLITS]
        rows.append(("(none of these)", *map(str, parts), str(sum(parts)), "outliers"))
    print_table(("Class", *SPLITS, "Photos", "Share"), rows)
    _report_findings(result)
    note(f"Manifest: {path}")


def _report_findings(result: SplitResult) -> None:
    scan = result.scan
    _list("unreadable, left out", [f"{name}: {reason}" for name, reason in result.unreadable], warn)
    _list("classes without photographs, left out", scan.empty_classes, warn)
    _list("links that lead out of the folder, left out", scan.outside_links, warn)
    _list("links that lead nowhere, left out", scan.dead_links, warn)
    _list("names that are no UTF-8, left out: rename them", scan.odd_names, warn)
    _list("folders that cannot be listed, left out", scan.closed_folders, warn)
    _list("classes without a photograph in train (--stratify gives each its share)", not_in_train(result), warn)
    wanted = dict(zip(SPLITS, result.manifest.ratios, strict=True))
    empty = [split for split in SPLITS if wanted[split] and not any(result.manifest.counts(split).values())]
    _list("splits without photographs: too few of them, or all are copies", empty, warn)
    _list(
        "groups of copies on several sides: what is learnt of one is asked about the other",
        _joined(result.across, " = "),
        warn,
    )
    _list("groups of copies in different classes: a label is wrong", _joined(result.conflicting, " = "), warn)
    kept = "left in their folders" if scan.parts else "kept on one side"
    _list(f"groups of identical photographs, {kept}", _joined(result.exact, " = "), note)
    _list(f"groups of near copies, {kept}", _joined(result.near, " ≈ "), note)
    _list("hidden, left out", scan.hidden, note)
    _list("not photographs, left out", scan.other_files, note)
    if imbalance(result) > IMBALANCED:
        warn(f"the largest class has {imbalance(result):.1f} times the photographs of the smallest; see --stratify.")


def _joined(groups: Sequence[Sequence[str]], sign: str) -> list[str]:
    """Return a line a group; a burst of thousands has a short one too."""
    more = (f" … and {len(group) - SHOWN} more" if len(group) > SHOWN else "" for group in groups)
    return [sign.join(group[:SHOWN]) + rest for group, rest in zip(groups, more, strict=True)]


def _list(what: str, items: Iterable[str], tell: object) -> None:
    found: Sequence[str] = list(items)
    if not found:
        return
    assert callable(tell)
    more = f"\n  … and {len(found) - SHOWN} more (all of them: --json)" if len(found) > SHOWN else ""
    tell(f"{len(found)} {what}:\n  " + "\n  ".join(found[:SHOWN]) + more)
