"""A model for somebody without this package: one graph, what it needs to be known, and a client of some lines.

The folder is a bundle too, so that ``flowers classify --model FOLDER`` asks the very same graph.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from flowercli.atomic import new_folder
from flowercli.bundle import CARD, CHECKSUMS, ONNX, PORTABLE, Bundle, create, describe, to_json, without_local_paths
from flowercli.description import output_names
from flowercli.evaluation.card import model_card, stated_license
from flowercli.export.package import Options, Packed
from flowercli.inference.classifier import OUTPUTS
from flowercli.inference.preprocess import INPUT, PreprocessSpec
from flowercli.inference.session import choose_graph
from flowercli.shown import in_shell

PACKAGE = Path(__file__).parents[1]
CLIENT, CLASSES, PREPROCESSING = "classify.py", "classes.json", "preprocessing.json"
REQUIREMENTS, LICENSE = "requirements.txt", "LICENSE"
# As this package asks for them; a plain onnxruntime, because the client runs on the CPU.
PACKAGES = ("numpy>=2.1", "onnxruntime>=1.24", "pillow>=11.3")
LICENSE_NOTE = """\
classify.py comes from flowers (https://github.com/flowercli/flowercli), under the MIT licence:

{text}
The model belongs to whoever trained it; README.md says under which licence it is passed on, if its owner stated one.
It was fine-tuned from weights of timm where config.json says "pretrained": true, and those weights have a licence of
their own. So do the photographs it was trained on; none of them is in this folder.
"""
USAGE = """\
```
pip install -r requirements.txt
python classify.py PICTURE...
```

One JSON line a picture, as `flowers classify --json` prints it; the package `flowers` is not needed, but
`flowers classify --model FOLDER` works too. To check the files: `sha256sum -c SHA256SUMS`.

| file | what |
|---|---|
| `{model}` | the network, with normalisation, softmax and calibration inside |
| `preprocessing.json` | how a picture becomes its input, in words and in numbers |
| `classes.json` | the name of each class index |
| `config.json` | the whole description: thresholds, metrics, recipe |
| `classify.py` | the client, to be used or to be read |
"""


def write_delivery(bundle: Bundle, target: Path, _options: Options) -> Packed:
    """Write a delivery of a bundle, a folder or a lone ``.onnx``, into the new folder ``target``.

    Raises:
        BundleError: the bundle has no graph, or an altered one.
    """
    graph = choose_graph(bundle, PORTABLE)
    with new_folder(target) as folder:
        _write(bundle, graph, folder)
    return Packed(target, (f"Now: python {in_shell(target / CLIENT)} PICTURE",))


def _write(bundle: Bundle, graph: Path, folder: Path) -> None:
    # The name by which a bundle knows its graph, whatever a lone file is called.
    model = ONNX if bundle.is_lone_onnx else graph.name
    section = without_local_paths(bundle.section)
    section["exports"] = {name: check for name, check in section.get("exports", {}).items() if name == model}
    config = {**bundle.config, "flowers": section}
    texts = {
        CLASSES: to_json({str(index): name for index, name in enumerate(bundle.class_names)}),
        PREPROCESSING: to_json(preprocessing(bundle, model, output_names(graph))),
        CARD: _card(bundle, config, USAGE.format(model=model)),
        REQUIREMENTS: "".join(f"{package}\n" for package in PACKAGES),
        LICENSE: LICENSE_NOTE.format(text=_licence()),
        CLIENT: (PACKAGE / "export" / "client.py").read_text(encoding="utf-8"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    shutil.copyfile(graph, folder / model)
    create(folder, config, {name: folder / name for name in (model, *texts)})
    (folder / CHECKSUMS).write_text(checksums(folder), encoding="utf-8", newline="\n")


def _card(bundle: Bundle, config: dict[str, Any], usage: str) -> str:
    """Return the card of the delivery: the bundle's, if people corrected it, with how to ask this folder."""
    if bundle.card_is_corrected:
        text = (bundle.path / CARD).read_text(encoding="utf-8", errors="replace")
        return f"{text.rstrip()}\n\n## This folder\n\n{usage}"
    return model_card(config, usage, None if bundle.is_lone_onnx else stated_license(bundle))


def preprocessing(bundle: Bundle, model: str, outputs: list[str]) -> dict[str, Any]:
    """Return how a picture becomes the input of the graph, for people (``steps``) and for programs (the rest)."""
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    height, width = spec.resize_to
    return {
        "model": model,
        "input": INPUT,
        "outputs": [name for name in OUTPUTS if name in outputs],
        "width_and_height": [spec.width, spec.height],
        "resize_to_width_and_height": [width, height],
        "interpolation": spec.interpolation,
        "inside_the_graph": {"scale": 1 / 255, "mean": list(spec.mean), "std": list(spec.std)},
        "steps": _steps(spec),
    }


def _steps(spec: PreprocessSpec) -> list[str]:
    height, width = spec.resize_to
    return [
        f"Decode. A large JPEG may be decoded at the smallest scale that leaves {min(height, width)} pixels or more.",
        "Turn the picture upright, as its EXIF orientation says.",
        "Make it RGB, 8 bits a channel; transparent parts become white.",
        f"Resize it in proportion until it just covers {width} x {height} pixels (width x height).",
        f"The interpolation is {spec.interpolation}, antialiased, as Pillow does it.",
        f"Cut {spec.width} x {spec.height} out of the centre. classify.py does this and resizing as one resampling.",
        "Give it to the graph as uint8 [N, height, width, 3], with values from 0 to 255.",
        "Scaling, mean, deviation, calibration and softmax are inside the graph.",
    ]


def checksums(folder: Path) -> str:
    """Return the sha256 of each file of a folder, as ``sha256sum -c`` reads it."""
    return "".join(f"{describe(path)['sha256']}  {path.name}\n" for path in sorted(folder.iterdir()))


def _licence() -> str:
    """Return the licence of this package: it lies in it, or beside it in a checkout."""
    places = (PACKAGE / LICENSE, PACKAGE.parent / LICENSE)
    return next(path for path in places if path.is_file()).read_text(encoding="utf-8")
