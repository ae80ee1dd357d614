"""How ``flowers eval`` shows its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowercli.cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowercli.training.evaluation import Evaluation

SUMMARY = (("Accuracy", "accuracy"), ("Macro F1", "macro_f1"), ("Weighted F1", "weighted_f1"))


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the variants side by side, then classes and confusion matrix of what ``classify`` would run."""
    first = next(iter(evaluation.variants.values()))
    names = list(evaluation.variants)
    rows = [(title, *(interval(evaluation.variants[name][key]) for name in names)) for title, key in SUMMARY]
    rows.append(("Log loss", *(f"{evaluation.variants[name]['log_loss']:.4f}" for name in names)))
    baseline = f"Always '{first['baseline']['class']}'"
    rows.append((baseline, *(interval(first["baseline"]["accuracy"]) for _ in names)))
    print_table(
        ("", *names), rows, title=f"{evaluation.split}: {first['photos']} photographs, 95 % intervals in brackets"
    )
    shown = names[-1]
    _print_classes(evaluation.variants[shown], shown)
    _print_confusion(evaluation.variants[shown], shown)


def interval(value: Mapping[str, float]) -> str:
    """Return ``97.46 % (92.8–99.1)``."""
    return f"{100 * value['value']:.2f} % ({100 * value['low']:.1f}–{100 * value['high']:.1f})"


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
