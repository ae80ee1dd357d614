"""The model card: what a bundle's ``README.md`` says, written from its description alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowercli.bundle import CARD, MACHINE_BOUND, Bundle
from flowercli.evaluation.intervals import class_texts, number_text, share_text
from flowercli.evaluation.metrics import confused_pairs
from flowercli.inference.classifier import in_words
from flowercli.shown import in_markdown, percent

SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}
LOSSES = {"log_loss": "log loss", "ece": "calibration error"}
BASELINE = "always the most frequent class"
USAGE = "```\nflowers classify PICTURE --model PATH\n```\n\nThe weights load with `timm.create_model`.\n"


HEAD = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)
LICENSE_LINE = re.compile(r"^license: (.+)$", re.MULTILINE)
PLAIN_LICENSE = re.compile(r"[A-Za-z][A-Za-z0-9.+-]*")

PAIRS_SHOWN = 25


def model_card(description: Mapping[str, Any], usage: str = USAGE, license_id: str | None = None) -> str:
    """Return the model card in Markdown, with the metadata block that the Hub reads.

    Args:
        description: the bundle's.
        usage: how to ask the model, in Markdown.
        license_id: what its owner passes it on under, if that was said; it is not for us to say.
    """
    description = in_markdown(description)
    section = description["flowers"]
    parts = [
        _front_matter(license_id),
        _about(description, usage),
        "\n".join(_metrics(section.get("metrics", {}))),
        "\n".join(_exports(section.get("exports", {}))),
        _recipe(section),
        _taught(section.get("taught", {})),
        "\n".join(_terms(section.get("data_terms", {}))),
        _limits(description),
    ]
    return "\n".join(part for part in parts if part)


def stated_license(bundle: Bundle) -> str | None:
    """Return the licence that a card which we wrote states, so that the next one states it too."""
    path = bundle.path / CARD
    head = HEAD.match(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    found = LICENSE_LINE.search(head[1]) if head else None
    return found and found[1].strip("\"'")


def _front_matter(license_id: str | None) -> str:
    stated = "" if license_id is None else f"license: {_in_yaml(license_id)}\n"
    return (
        "---\n"
        "tags:\n- image-classification\n- timm\n- flowers\n"
        "library_name: timm\n"
        "pipeline_tag: image-classification\n"
        f"{stated}---\n"
    )


def _in_yaml(text: str) -> str:
    return text if PLAIN_LICENSE.fullmatch(text) else json.dumps(text)


def _about(description: Mapping[str, Any], usage: str) -> str:
    names = ", ".join(map(in_words, description["label_names"]))
    size = "×".join(str(side) for side in description["pretrained_cfg"]["input_size"][1:])
    # A stranger's may not say it.
    values = description["flowers"].get("embedding_size")
    embedding = f", embedding of {values} values" if values else ""
    return (
        f"# {description['architecture']} for {description['num_classes']} classes\n\n"
        f"Names the flower in a photograph: {names}. Input {size} pixels{embedding}.\n\n"
        f"{usage}\n"
        "The ONNX graphs take `uint8` RGB pixels `[N, H, W, 3]` and return calibrated probabilities, the embedding, "
        "and as `known` how sure the model is that the picture shows one of its flowers; normalisation and softmax "
        "are inside.\n"
    )


def _metrics(metrics: Mapping[str, Any]) -> Iterator[str]:
    if not metrics:
        return
    yield "## Metrics\n"
    yield (
        "95 % confidence intervals in brackets: Wilson's for accuracy, bootstrap for the others. Log loss and "
        "calibration error (ECE, 15 bins): less is better.\n"
    )
    titles = ("split", "weights", "photographs", "accuracy", "macro F1", *LOSSES.values(), BASELINE)
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for split, variants in metrics.items():
        for variant, values in variants.items():
            columns = [share_text(values["accuracy"], 1), share_text(values["macro_f1"], 1)]
            columns += [number_text(values[key]) for key in LOSSES]
            columns.append(share_text(values["baseline"]["accuracy"], 1))
            yield f"| {SPLIT_WORDS[split]} | {variant} | {values['photos']} | {' | '.join(columns)} |"
    yield ""
    if "test" in metrics:
        variant, last = list(metrics["test"].items())[-1]
        yield from _sources(last)
        yield from _refusal(last)
        # What ships keeps these tables in its card alone.
        if "per_class" in last:
            yield from _per_class(variant, last)
            yield from _confused(last)


def _per_class(variant: str, metrics: Mapping[str, Any]) -> Iterator[str]:
    yield f"On the test split, {variant}:\n"
    yield "| class | precision | recall | F1 | photographs |"
    yield "|---|---|---|---|---|"
    for name, row in metrics["per_class"].items():
        yield f"| {name} | {' | '.join(class_texts(row))} | {row['support']} |"
    yield ""


def _exports(exports: Mapping[str, Any]) -> Iterator[str]:
    # An engine stays on the machine that it was built for, and the card goes elsewhere.
    exports = {name: check for name, check in exports.items() if name not in MACHINE_BOUND}
    if not exports:
        return
    yield "## Exports\n"
    yield "Against torch on the validation photographs.\n"
    yield "| file | size | made by | largest difference | same answer |"
    yield "|---|---|---|---|---|"
    for name, check in exports.items():
        size, agreement = f"{check['size'] / 1e6:.2f} MB", percent(check["agreement"], 2)
        yield f"| `{name}` | {size} | {check['method']} | {check['max_difference']:.1e} | {agreement} |"
    yield ""


def _recipe(section: Mapping[str, Any]) -> str:
    if not (provenance := section.get("provenance")):
        return ""
    photos = provenance["photos"]
    counts = _counts(photos)
    if any(provenance.get("outlier_photos", {}).values()):
        counts += f". Pictures that show none of the classes: {_counts(provenance['outlier_photos'])}"
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    return (
        "## Data and recipe\n\n"
        f"Photographs: {counts}. {_weights(provenance)} Temperature and rejection threshold come from the "
        "validation split; training did not read the test split.\n\n"
        f"- dataset sha256 `{provenance['dataset_sha256']}`\n"
        f"- split manifest sha256 `{provenance['manifest_sha256']}`\n"
        f"- code `{provenance['git_revision']}`; {versions}\n\n"
        "The whole configuration is in `config.json` under `flowers.provenance.config`.\n"
    )


def _taught(taught: Mapping[str, Any]) -> str:
    """Return what the model was taught after its training, by `flowers teach`."""
    if not taught:
        return ""
    flowers = ", ".join(f"{in_words(name)} from {len(photos)}" for name, photos in taught["flowers"].items())
    forgotten = ", ".join(map(in_words, taught["forgotten"]))
    return (
        "## Taught\n\n"
        f"After its training the model {taught['model']} was taught, from so many photographs: {flowers or 'nothing'}. "
        f"{f'Not answered any more: {forgotten}. ' if forgotten else ''}"
        "The exports above are of the network, which stayed as it was.\n"
    )


def _counts(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{count} for {SPLIT_WORDS[split]}" for split, count in splits.items())


def _weights(provenance: Mapping[str, Any]) -> str:
    if averaged := provenance.get("averaged"):
        epochs = " and ".join(str(run["epochs_trained"]) for run in averaged)
        return f"The weights are the mean of the weights of {len(averaged)} runs, of {epochs} epochs."
    return (
        f"Trained for {provenance['epochs_trained']} epochs; the weights are those of epoch "
        f"{provenance['best_epoch']}, the best on validation."
    )


def _limits(description: Mapping[str, Any]) -> str:
    threshold = description["flowers"]["rejection_threshold"]
    return (
        "## Limits\n\n"
        f"It knows the {description['num_classes']} classes above and no other flower. An answer is rejected where "
        f"`known` is below {threshold:.2f}; a picture of something else may still pass. Not for deciding whether a "
        "plant may be eaten.\n"
    )


def _terms(terms: Mapping[str, str]) -> Iterator[str]:
    """Yield where the photographs come from and on which terms, where that was said."""
    if not terms:
        return
    yield "## Photographs\n"
    yield "None of them is in the model's files. Their terms, as their collections state them:\n"
    yield from (f"- {source}: {text}" for source, text in terms.items())
    yield ""


def _sources(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield how each dataset of a merged one fares."""
    if not (rows := metrics.get("by_source")):
        return
    yield "| source | photographs | accuracy | kept, not refused |"
    yield "|---|---|---|---|"
    for source, row in rows.items():
        yield f"| {source} | {row['photos']} | {share_text(row['accuracy'], 1)} | {share_text(row['kept'], 1)} |"
    yield ""


def _refusal(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield what becomes of pictures that show none of the classes, by kind."""
    if not (found := metrics.get("refusal")):
        return
    yield (
        f"Of photographs of its classes it keeps {share_text(found['kept'], 1)}; of {found['pictures']} pictures that "
        f"show none of them it refuses {share_text(found['refused'], 1)} (AUROC {found['auroc']:.4f}):\n"
    )
    by_kind = found.get("by_kind", {})  # What ships has it in its card only.
    if by_kind:
        yield "| kind | pictures | refused |"
        yield "|---|---|---|"
    for kind, row in by_kind.items():
        yield f"| {kind} | {row['photos']} | {share_text(row['refused'], 1)} |"
    yield ""


def _confused(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield the pairs of classes that are taken for each other most often."""
    if not (pairs := confused_pairs(metrics)):
        return
    yield "Most often confused:\n"
    yield "| is | named | times | of |"
    yield "|---|---|---|---|"
    for pair in pairs[:PAIRS_SHOWN]:
        yield f"| {pair.target} | {pair.named} | {pair.times} | {pair.photos} |"
    yield ""
