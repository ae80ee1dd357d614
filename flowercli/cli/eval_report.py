"""How ``flowers eval`` shows its metrics, two bundles side by side, and the labels that it suspects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowercli.cli.output import note, print_table, stdout_console
from flowercli.cli.tables import GAP, LEAST
from flowercli.evaluation.intervals import class_texts, number_text, share_text
from flowercli.evaluation.metrics import confused_pairs
from flowercli.shown import counted, percent, probability

if TYPE_CHECKING:
    from flowercli.evaluation.comparison import Comparison
    from flowercli.evaluation.evaluate import Evaluation
    from flowercli.evaluation.label_errors import LabelErrors


PERCENTAGES = (
    ("Accuracy", "accuracy"),
    ("Balanced accuracy", "balanced_accuracy"),
    ("Top-2 accuracy", "top_2_accuracy"),
    ("Macro F1", "macro_f1"),
    ("Weighted F1", "weighted_f1"),
)
# A matrix of more classes fits no terminal.
MOST_IN_MATRIX = 20
PAIRS_SHOWN = 20
# Less is better.
LOSSES = (("Log loss", "log_loss"), ("Brier score (0…2)", "brier"), ("Calibration error (ECE)", "ece"))

# With more suspects than this share, it is the classifier that is wrong.
TOO_MANY = 0.2


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the variants side by side, then classes and confusion matrix of what ``classify`` would run."""
    variants = evaluation.variants
    first = next(iter(variants.values()))
    rows = [(title, *(share_text(metrics[key]) for metrics in variants.values())) for title, key in PERCENTAGES]
    baseline = f"Always '{first['baseline']['class']}'"
    rows.append((baseline, *(share_text(metrics["baseline"]["accuracy"]) for metrics in variants.values())))
    rows += [(title, *(number_text(metrics[key], 4) for metrics in variants.values())) for title, key in LOSSES]
    title = f"{evaluation.split}: {counted(first['photos'], 'photograph')}, 95 % intervals"
    print_table(("", *variants), rows, title=title)
    shown = list(variants)[-1]
    _print_refusal(variants)
    _print_sources(variants[shown], shown)
    _print_classes(variants[shown], shown)
    names = variants[shown]["per_class"]
    if len(names) <= MOST_IN_MATRIX and sum(min(LEAST, len(name)) + GAP for name in names) <= stdout_console().width:
        _print_confusion(variants[shown], shown)
    else:
        _print_confused(variants[shown], shown)


def _print_refusal(variants: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what becomes of pictures that show none of the classes, by kind, where there were any."""
    found = {variant: metrics["refusal"] for variant, metrics in variants.items() if "refusal" in metrics}
    if not found:
        return
    first = next(iter(found.values()))
    rows = [
        ("Photographs of the classes that are kept", *(share_text(each["kept"]) for each in found.values())),
        ("Outliers that are refused", *(share_text(each["refused"]) for each in found.values())),
        ("Refused where 95 % are kept", *(share_text(each["refused_at_95"]) for each in found.values())),
        ("AUROC", *(f"{each['auroc']:.4f}" for each in found.values())),
    ]
    for kind, row in first["by_kind"].items():
        cells = (share_text(each["by_kind"][kind]["refused"]) for each in found.values())
        rows.append((f"  {kind} ({row['photos']})", *cells))
    print_table(("", *found), rows, title=f"Refusal of {first['pictures']} pictures that show none of the classes")


def _print_sources(metrics: Mapping[str, Any], variant: str) -> None:
    """Print how each dataset of a merged one fares."""
    rows = [
        (source, share_text(row["accuracy"]), share_text(row["kept"]), str(row["photos"]))
        for source, row in metrics.get("by_source", {}).items()
    ]
    if rows:
        print_table(("Source", "Accuracy", "Kept", "Photos"), rows, title=f"Each source, {variant}")


def _print_classes(metrics: Mapping[str, Any], variant: str) -> None:
    rows = [
        (name, *class_texts(row, 2), str(row["support"]))
        for name, row in metrics["per_class"].items()
        if row["support"]  # Of the others there is nothing to say.
    ]
    print_table(("Class", "Precision", "Recall", "F1", "Photos"), rows, title=f"Each class, {variant}")


def _print_confusion(metrics: Mapping[str, Any], variant: str) -> None:
    names = list(metrics["per_class"])
    rows = [
        (name, *(str(count) if count else "·" for count in counts))
        for name, counts in zip(names, metrics["confusion_matrix"], strict=True)
    ]
    print_table(("is \\ named", *names), rows, title=f"Confusion matrix, {variant}")


def _print_confused(metrics: Mapping[str, Any], variant: str) -> None:
    pairs = confused_pairs(metrics)
    rows = [(pair.target, pair.named, str(pair.times), str(pair.photos)) for pair in pairs[:PAIRS_SHOWN]]
    title = f"Most often confused, {variant} ({len(pairs)} pairs in all: --json)"
    print_table(("Is", "Named", "Times", "of"), rows, title=title, left=("Named",))


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


def print_label_errors(errors: LabelErrors) -> None:
    """Print a row for each suspect, the least probable label first."""
    rows = [(row.path, row.labelled, row.looks_like, probability(row.probability), row.split) for row in errors.rows]
    accuracy = percent(errors.accuracy)
    title = f"{len(rows)} of {errors.photos} labels are doubtful (accuracy out of fold {accuracy})"
    columns = ("Photo", "Labelled", "Looks like", "Probability", "Split")
    print_table(columns, rows, title=title, left=("Labelled", "Looks like", "Split"), paths=("Photo",))
    tell_limits(errors)


def tell_limits(errors: LabelErrors) -> None:
    """Say on stderr what the list is worth."""
    if len(errors.rows) > TOO_MANY * errors.photos:
        note("So many suspects mean that the model is too weak to judge the labels: train a better one first.")
    note(
        "The embeddings are of a model that was trained on the labels of the training split: there it finds fewer "
        "errors than there are. Look at each photograph before changing its label."
    )
