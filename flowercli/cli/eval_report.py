"""How ``flowers eval`` shows its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowercli.cli.output import print_table
from flowercli.training.intervals import number_text, share_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowercli.training.evaluation import Evaluation

PERCENTAGES = (
    ("Accuracy", "accuracy"),
    ("Balanced accuracy", "balanced_accuracy"),
    ("Top-2 accuracy", "top_2_accuracy"),
    ("Macro F1", "macro_f1"),
    ("Weighted F1", "weighted_f1"),
)
# Less is better.
LOSSES = (("Log loss", "log_loss"), ("Brier score (0…2)", "brier"), ("Calibration error (ECE)", "ece"))


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the variants side by side, then classes and confusion matrix of what ``classify`` would run."""
    variants = evaluation.variants
    first = next(iter(variants.values()))
    rows = [(title, *(share_text(metrics[key]) for metrics in variants.values())) for title, key in PERCENTAGES]
    baseline = f"Always '{first['baseline']['class']}'"
    rows.append((baseline, *(share_text(metrics["baseline"]["accuracy"]) for metrics in variants.values())))
    rows += [(title, *(number_text(metrics[key], 4) for metrics in variants.values())) for title, key in LOSSES]
    title = f"{evaluation.split}: {first['photos']} photographs, 95 % intervals"
    print_table(("", *variants), rows, title=title)
    shown = list(variants)[-1]
    _print_classes(variants[shown], shown)
    _print_confusion(variants[shown], shown)


def _print_classes(metrics: Mapping[str, Any], variant: str) -> None:
    rows = [
        (name, share_text(row["precision"]), share_text(row["recall"]), f"{100 * row['f1']:.2f} %", str(row["support"]))
        for name, row in metrics["per_class"].items()
    ]
    print_table(("Class", "Precision", "Recall", "F1", "Photos"), rows, title=f"Each class, {variant}")


def _print_confusion(metrics: Mapping[str, Any], variant: str) -> None:
    names = list(metrics["per_class"])
    rows = [
        (name, *(str(count) if count else "·" for count in counts))
        for name, counts in zip(names, metrics["confusion_matrix"], strict=True)
    ]
    print_table(("is \\ named", *names), rows, title=f"Confusion matrix, {variant}")
