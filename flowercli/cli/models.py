"""``flowers models``: which models can be asked by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercli.cli.output import note, print_json, print_table, warn
from flowercli.errors import BundleError
from flowercli.shown import percent

if TYPE_CHECKING:
    from flowercli.bundle import Bundle
    from flowercli.installed import Installed

MEASURED_ON = ("test", "val")
# Flowers of a model that the overview names.
EXAMPLES = 5


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A model whose flowers to list: a name, a bundle folder or a .onnx file.",
            show_default=False,
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the models that come with the package and those that were downloaded; `classify --model NAME` asks one.

    With NAME, list all flowers that this model knows, with their scientific names.
    """
    if name is None:
        _print_models(json_output=json_output)
    else:
        _print_flowers(name, json_output=json_output)


def _print_flowers(name: str, *, json_output: bool) -> None:
    from flowercli.inference.classifier import in_words
    from flowercli.models import load_model

    bundle = load_model(name)
    flowers = list(zip(bundle.class_names, bundle.scientific_names, strict=True))
    if json_output:
        entries = [{"class_name": name, "scientific_name": scientific} for name, scientific in flowers]
        print_json({"name": name, "flowers": entries})
        return
    columns = ("Flower", "Class name", "Scientific name")
    rows = [(in_words(name), name, scientific or "") for name, scientific in flowers]
    print_table(columns, rows, left=columns, title=f"{bundle.name}: {len(flowers)} flowers")


def _print_models(*, json_output: bool) -> None:
    from flowercli.models import downloaded, load_model, shipped_names

    entries = [_describe(name, load_model(name), None) for name in shipped_names()]
    for entry in downloaded():
        try:
            entries.append(_describe(entry.name, load_model(entry.name), entry))
        except BundleError as error:
            warn(f"{error.message} Fetch it again: flowers download model {entry.name}")
    if json_output:
        print_json({"models": entries})
        return
    columns = ("Model", "Network", "Input", "Size", "Accuracy", "From", "Flowers")
    print_table(columns, [_row(entry) for entry in entries], left=("Network", "From", "Flowers"))
    note("All flowers of one: flowers models NAME")


def _describe(name: str, bundle: Bundle, origin: Installed | None) -> dict[str, Any]:
    from flowercli.bundle import ON_CPU
    from flowercli.inference.preprocess import PreprocessSpec
    from flowercli.models import default_name

    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    return {
        "name": name,
        "default": name == default_name(),
        "source": None if origin is None else origin.source,
        "commit": None if origin is None else origin.revision,
        "architecture": bundle.config["architecture"],
        "input_size": [spec.height, spec.width],
        "files": {file: entry["size"] for file, entry in bundle.section["files"].items() if file in ON_CPU},
        "class_names": bundle.class_names,
        "accuracy": _accuracy(bundle),
    }


def _accuracy(bundle: Bundle) -> dict[str, Any] | None:
    """Return the accuracy of the variant that ``classify`` runs, on the split that says most."""
    metrics = bundle.section.get("metrics", {})
    for split in MEASURED_ON:
        if metrics.get(split):
            variant, values = list(metrics[split].items())[-1]
            return {"split": split, "variant": variant, "photos": values["photos"], **values["accuracy"]}
    return None


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    accuracy = entry["accuracy"]
    measured = "not measured"
    if accuracy is not None:
        measured = f"{percent(accuracy['value'])} of {accuracy['photos']} ({accuracy['split']})"
    return (
        entry["name"] + (" (default)" if entry["default"] else ""),
        entry["architecture"],
        "×".join(map(str, entry["input_size"])),
        f"{sum(entry['files'].values()) / 1e6:.1f} MB",
        measured,
        "the package" if entry["commit"] is None else f"the Hub, {entry['commit'][:7]}",
        _some(entry["class_names"]),
    )


def _some(class_names: list[str]) -> str:
    rest = ", …" if len(class_names) > EXAMPLES else ""
    return f"{len(class_names)}: {', '.join(class_names[:EXAMPLES])}{rest}"
