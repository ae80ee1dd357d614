"""How ``flowers eval`` shows its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowercli.cli.output import print_table

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
    rows = [(title, *(interval(metrics[key]) for metrics in variants.values())) for title, key in PERCENTAGES]
    baseline = f"Always '{first['baseline']['class']}'"
    rows.append((baseline, *(interval(metrics["baseline"]["accuracy"]) for metrics in variants.values())))
    rows += [(title, *(loss(metrics[key]) for metrics in variants.values())) for title, key in LOSSES]
    title = f"{evaluation.split}: {first['photos']} photographs, 95 % intervals"
    print_table(("", *variants), rows, title=title)
    shown = list(variants)[-1]
    _print_classes(variants[shown], shown)
    _print_confusion(variants[shown], shown)


def interval(value: Mapping[str, float]) -> str:
    """Return ``97.46 % (92.8–99.1)``."""
    return f"{100 * value['value']:.2f} % ({100 * value['low']:.1f}–{100 * value['high']:.1f})"


def loss(value: Mapping[str, float]) -> str:
    """Return ``0.0718 (0.031–0.124)``."""
    return f"{value['value']:.4f} ({value['low']:.3f}–{value['high']:.3f})"


def _print_classes(metrics: Mapping[str, Any], variant: str) -> None:
    rows = [
        (name, interval(row["precision"]), interval(row["recall"]), f"{100 * row['f1']:.2f} %", str(row["support"]))
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
