"""``flowers eval --report FILE``: one page that holds all there is to say about an evaluation, or about labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli import json_text
from flowercli.atomic import write_text
from flowercli.bundle import Bundle, without_local_paths
from flowercli.data.shards import photographs_at
from flowercli.evaluation.card import SPLIT_WORDS
from flowercli.evaluation.intervals import class_texts, number_text, share_text
from flowercli.evaluation.metrics import confused_pairs
from flowercli.reporting import page
from flowercli.reporting.drawing import MOST_WRITTEN_CLASSES
from flowercli.reporting.figure_list import answer_plots, history_plots, most_confused_plot
from flowercli.reporting.page import MOST, confident_mistakes, thumbnail
from flowercli.shown import percent, probability

if TYPE_CHECKING:
    from flowercli.evaluation.bundle_data import BundleData
    from flowercli.evaluation.evaluate import Evaluation
    from flowercli.evaluation.label_errors import LabelErrors


# Key, name, whether it is a share, what it means.
METRICS = (
    ("accuracy", "Accuracy", True, "Share of photographs that are named rightly."),
    ("top_2_accuracy", "Top-2 accuracy", True, "Share whose name is among the two most probable."),
    ("balanced_accuracy", "Balanced accuracy", True, "Mean over classes of the share that is found."),
    ("macro_f1", "Macro F1", True, "Mean over classes of the F1 score."),
    ("weighted_f1", "Weighted F1", True, "The same, each class weighted by its photographs."),
    ("log_loss", "Log loss", False, "In nats; less is better."),
    ("brier", "Brier score", False, "From 0 to 2; less is better."),
    ("ece", "Calibration error", True, "How far confidence is from the share that is right; less is better."),
)
CAPTIONS = {
    "confusion-matrix": "Rows are what a photograph shows, columns what it was named; with the share of the row.",
    "precision-recall": "Each class against all others, at every limit of its probability. AP: average precision.",
    "reliability": "Answers in 15 bins of confidence. Above the diagonal more are right than confidence says.",
    "embedding-map": "In a t-SNE map neighbours mean something; the sizes of groups and their distances do not.",
    "learning-curves": "The training loss includes every part of the loss; validation shows the log loss alone.",
    "learning-rate": "The learning rate of the backbone at the end of each epoch.",
}
HEADINGS = {
    "confusion-matrix": "What is taken for what",
    "precision-recall": "Precision and recall",
    "reliability": "How far confidence can be trusted",
    "embedding-map": "Map of the embeddings",
    "learning-curves": "Learning curves",
    "learning-rate": "Learning rate",
}
PAIRS_SHOWN = 12
NUMBERS = ("epoch", "loss", "learning_rate", "val_accuracy", "val_loss")

# Some eight kilobytes each.
MOST_SHOWN = 200


def write_report(path: Path, evaluation: Evaluation, data: BundleData) -> None:
    """Write the page of an evaluation: all variants in numbers, the last one, which ``classify`` runs, in pictures.

    Args:
        path: the file, which is replaced if it is there.
        evaluation: with its answers.
        data: the photographs and their manifest.
    """
    body = [
        _metrics(evaluation),
        _classes(evaluation),
        _figures(evaluation),
        _mistakes(evaluation, data),
        _history(evaluation.bundle),
        _provenance(evaluation.bundle),
    ]
    title = f"Evaluation of {evaluation.bundle.path.name}"
    write_text(path, page.page(title, _header(evaluation, data), filter(None, body)))


def read_history(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the epochs that a bundle records, without damaged ones; older bundles record none."""
    rows = bundle.section.get("history")
    if not isinstance(rows, list):
        return []
    kept = [{key: row.get(key) for key in NUMBERS} for row in rows if isinstance(row, dict)]
    needed = {"epoch", "loss"}
    return [row for row in kept if all(_is_number(row[key]) or (row[key] is None and key not in needed) for key in row)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _shown(evaluation: Evaluation) -> tuple[str, dict[str, Any]]:
    """Return the variant that is drawn, and its metrics."""
    return list(evaluation.variants.items())[-1]


def _header(evaluation: Evaluation, data: BundleData) -> Iterator[str]:
    variant, metrics = _shown(evaluation)
    photos, split = metrics["photos"], SPLIT_WORDS[evaluation.split]
    said = f"The {variant} model names {metrics['right']:,} of {photos:,} {split} photographs rightly"
    yield page.paragraph(f"{said}: {share_text(metrics['accuracy'], 1)}.", "lead")
    yield page.facts(
        [
            ("Bundle", evaluation.bundle.name),
            ("Split", split),
            ("Photographs", f"{photos:,}"),
            ("Classes", _some(evaluation.bundle.class_names)),
            ("Dataset sha256", data.manifest.dataset_sha256),
            page.written(),
        ]
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MOST_WRITTEN_CLASSES else f"{len(names)}, listed below"


def _metrics(evaluation: Evaluation) -> str:
    variants = evaluation.variants
    rows = [
        (name, *(share_text(each[key], 1) if share else number_text(each[key]) for each in variants.values()), meaning)
        for key, name, share, meaning in METRICS
    ]
    baseline = next(iter(variants.values()))["baseline"]
    always = [share_text(baseline["accuracy"], 1)] * len(variants)
    rows.append((f"Always “{baseline['class']}”", *always, "The accuracy of naming the most frequent class each time."))
    columns = ("Metric", *variants, "Meaning")
    return page.section("Metrics", page.table("95 % intervals in brackets", columns, rows, last_is_text=True))


def _classes(evaluation: Evaluation) -> str:
    variant, metrics = _shown(evaluation)
    rows = [(name, *class_texts(row), row["support"]) for name, row in metrics["per_class"].items()]
    columns = ("Class", "Precision", "Recall", "F1", "Photographs")
    return page.section("Each class", page.table(f"{variant}, 95 % intervals in brackets", columns, rows))


def _figures(evaluation: Evaluation) -> str:
    variant, metrics = _shown(evaluation)
    parts = []
    for plot in answer_plots(evaluation.answers[variant], evaluation.bundle.class_names):
        drawn = page.figure(plot, CAPTIONS[plot.name])
        shown = _confusion(drawn, metrics) if plot.name == "confusion-matrix" else [drawn]
        parts.append(page.section(HEADINGS[plot.name], *shown))
    said = page.paragraph(f"The figures and photographs below show the answers of the {variant} model.", "note")
    return f'{said}\n<div class="figures">\n' + "\n".join(parts) + "\n</div>"


def _confusion(drawn: str, metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield the matrix; of many classes first what of it can be read: the most frequent pairs."""
    names, pairs = list(metrics["per_class"]), confused_pairs(metrics)
    if len(names) <= MOST_WRITTEN_CLASSES or not pairs:
        yield drawn
    else:
        rows = [(f"{pair.target}, named {pair.named}", pair.times, pair.photos) for pair in pairs[:PAIRS_SHOWN]]
        caption = f"The most frequent of {len(pairs)} pairs" if len(pairs) > PAIRS_SHOWN else "All pairs"
        yield page.table(caption, ("Photographs of", "Times", "Of"), rows)
        matrix = np.array(metrics["confusion_matrix"])
        yield page.figure(most_confused_plot(matrix, pairs, names), CAPTIONS["confusion-matrix"])
        yield page.folded("All classes", drawn)
    yield page.folded("The same in numbers", _confusion_table(metrics))


def _confusion_table(metrics: Mapping[str, Any]) -> str:
    names = list(metrics["per_class"])
    rows = [(name, *counts) for name, counts in zip(names, metrics["confusion_matrix"], strict=True)]
    return page.table("Rows: what it is. Columns: what it was named.", ("Is", *names), rows)


def _mistakes(evaluation: Evaluation, data: BundleData) -> str:
    variant, metrics = _shown(evaluation)
    mistakes = confident_mistakes(evaluation.answers[variant], evaluation.bundle.class_names)
    wrong = metrics["photos"] - metrics["right"]
    if not mistakes:
        return page.section("Most confident mistakes", page.paragraph("None of the photographs was named wrongly."))
    which = f"The {MOST} surest of {wrong:,} wrong answers" if wrong > MOST else "All wrong answers"
    sources = photographs_at(data.root, data.manifest, [one.path for one in mistakes])
    cards = [
        (thumbnail(source), f"{one.is_}, named {one.named} ({probability(one.confidence)})", one.path)
        for one, source in zip(mistakes, sources, strict=True)
    ]
    words = f"{which} of the {variant} model, the surest first. A label may be wrong, too."
    return page.section("Most confident mistakes", page.paragraph(words), page.gallery(cards))


def _history(bundle: Bundle) -> str:
    plots = history_plots(read_history(bundle))
    parts = [page.section(HEADINGS[plot.name], page.figure(plot, CAPTIONS[plot.name])) for plot in plots]
    return '<div class="figures">\n' + "\n".join(parts) + "\n</div>" if parts else ""


def _provenance(bundle: Bundle) -> str:
    # A page is passed on: it names no folder of the machine that it was made on.
    known = without_local_paths(bundle.section.get("provenance", {}))
    plain = {key: value for key, value in known.items() if isinstance(value, str | int | float)}
    versions = known.get("versions") or {}
    pairs: list[tuple[str, object]] = [(key.replace("_", " ").capitalize(), value) for key, value in plain.items()]
    pairs += [("Versions", ", ".join(f"{name} {version}" for name, version in versions.items()))] if versions else []
    config = json_text.dumps(known.get("config", {}), indent=2)
    parts = [page.facts(pairs), page.folded("The configuration of the training run", f"<pre>{page.text(config)}</pre>")]
    return page.section("Provenance", *parts) if known else ""


def write_label_report(path: Path, errors: LabelErrors) -> None:
    """Write the page of the suspects, the least probable label first.

    Args:
        path: the file, which is replaced if it is there.
        errors: with the folder of the photographs.

    Raises:
        ImageError: a photograph cannot be read.
    """
    title = f"Doubtful labels, seen by {errors.bundle.path.name}"
    write_text(path, page.page(title, _about(errors), [_suspects(errors)]))


def _about(errors: LabelErrors) -> Iterator[str]:
    yield page.paragraph(f"{len(errors.rows):,} of {errors.photos:,} labels are doubtful.", "lead")
    yield page.paragraph(
        "A classifier that has not seen a photograph's label finds another one more probable. It reads the embeddings "
        "of a model that was trained on the labels of the training split: there it finds fewer errors than there are. "
        "Look at each photograph before changing its label."
    )
    accuracy = percent(errors.accuracy)
    yield page.facts([("Bundle", errors.bundle.name), ("Accuracy out of fold", accuracy), page.written()])


def _suspects(errors: LabelErrors) -> str:
    shown = errors.rows[:MOST_SHOWN]
    if not shown:
        return page.section("Photographs", page.paragraph("No label is doubtful."))
    sources = photographs_at(errors.data.root, errors.data.manifest, [row.path for row in shown])
    said = (f"{row.labelled}? Looks like {row.looks_like} ({probability(row.probability)})" for row in shown)
    places = (f"{row.path} ({row.split})" for row in shown)
    parts = [page.gallery(zip(map(thumbnail, sources), said, places, strict=True))]
    if len(shown) < len(errors.rows):
        parts.insert(0, page.paragraph(f"The first {len(shown)}; all of them: --find-label-errors --json."))
    return page.section("Photographs, the least probable label first", *parts)
