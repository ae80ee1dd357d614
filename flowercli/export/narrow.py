"""Make of a bundle one that answers among some of its classes: ``python -m flowercli.export.narrow``.

The network is the same. As ``--only`` does it, but inside the graph, the probabilities of the classes that stay are
divided by their sum, and that sum lessens how sure the model is that it knows what it sees.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_node

from flowercli import bundle as bundles
from flowercli.atomic import new_folder
from flowercli.bundle import CARD, MANIFEST, ONNX_INT8, Bundle
from flowercli.data.manifest import Manifest
from flowercli.export.graph import write_model
from flowercli.inference.calibration import rejection_threshold
from flowercli.inference.classifier import OUTPUTS, Classifier
from flowercli.monitoring.sampling import add_reference, choose
from flowercli.training.answers import ask
from flowercli.training.card import model_card

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBABILITIES, _, KNOWN = OUTPUTS
# What is recorded of the wider model's own figures, exports and files is not true of the new one.
MEASURED = ("metrics", "exports", "history", "files", "known")


def narrow(bundle: Bundle, names: Sequence[str], manifest: Manifest, root: Path, target: Path, accept: float) -> Bundle:
    """Write the new bundle, with an int8 graph, and its threshold and reference from the validation photographs.

    Args:
        bundle: with an int8 graph.
        names: the classes that stay.
        manifest: the split of a dataset of these classes.
        root: that dataset.
        target: the folder of the new bundle, which must not exist.
        accept: share of the validation photographs to keep.
    """
    indices = [bundle.class_names.index(name) for name in names]
    proto = onnx.load(str(bundle.file(ONNX_INT8)))
    narrow_graph(proto.graph, indices)
    with new_folder(target) as folder, tempfile.TemporaryDirectory(prefix="flowers-narrow-") as scratch:
        files = {name: Path(scratch) / name for name in (ONNX_INT8, MANIFEST, CARD)}
        description = describe(bundle, indices)
        write_model(proto, Bundle(target, description), files[ONNX_INT8])
        files[MANIFEST].write_text(manifest.to_json(), encoding="utf-8")
        made = bundles.create(folder, description, {name: files[name] for name in (ONNX_INT8, MANIFEST)})
        known = ask(made, "int8", root, manifest.of_split("val")).known
        description["flowers"]["rejection_threshold"] = rejection_threshold(known, accept)
        files[CARD].write_text(model_card(description), encoding="utf-8")
        write_model(proto, Bundle(target, description), files[ONNX_INT8])
        made = bundles.add_files(
            made,
            {name: files[name] for name in (ONNX_INT8, CARD)},
            rejection_threshold=description["flowers"]["rejection_threshold"],
        )
        add_reference(Classifier.open(made, "cpu"), root, choose(manifest))
    return Bundle.load(target)


def describe(bundle: Bundle, indices: Sequence[int]) -> dict[str, Any]:
    """Return the description of the new bundle, without what has to be measured anew."""
    section = {key: value for key, value in bundle.section.items() if key not in MEASURED}
    section["scientific_names"] = [bundle.scientific_names[index] for index in indices]
    # How many bits its weights take, which whoever opens it wants to know.
    exports = {ONNX_INT8: bundle.section["exports"][ONNX_INT8]}
    names = [bundle.class_names[index] for index in indices]
    cfg = {**bundle.pretrained_cfg, "num_classes": len(names)}
    kept = {"label_names": names, "num_classes": len(names), "pretrained_cfg": cfg}
    return {**bundle.config, **kept, "flowers": {**section, "exports": exports, "files": {}}}


def narrow_graph(graph: onnx.GraphProto, indices: Sequence[int]) -> None:
    """Put behind a graph what ``--only`` does with its outputs: probabilities ``[N, C]`` and known ``[N, 1]``."""
    inner = {PROBABILITIES: "all_probabilities", KNOWN: "known_of_all"}
    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = inner.get(name, name)
    wanted = numpy_helper.from_array(np.array(indices, dtype=np.int64), "classes")
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "class_axis")
    # Where the model is sure of another class, all of these are zero: even then.
    least = numpy_helper.from_array(np.array(1e-12, dtype=np.float32), "least_share")
    graph.initializer.extend([wanted, axes, least])
    graph.node.extend(
        [
            make_node("Gather", [inner[PROBABILITIES], "classes"], ["exact_shares"], name="only_classes", axis=1),
            make_node("Add", ["exact_shares", "least_share"], ["shares"], name="only_shares"),
            make_node("ReduceSum", ["shares", "class_axis"], ["mass"], name="only_mass", keepdims=1),
            make_node("Div", ["shares", "mass"], [PROBABILITIES], name="only_probabilities"),
            make_node("Mul", [inner[KNOWN], "mass"], [KNOWN], name="only_known"),
        ]
    )
    output = next(value for value in graph.output if value.name == PROBABILITIES)
    output.type.tensor_type.shape.dim[1].dim_value = len(indices)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path, help="a dataset of the classes that stay, with its split")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--accept", type=float, default=0.95)
    arguments = parser.parse_args()
    manifest = Manifest.read(arguments.manifest)
    bundle = Bundle.load(arguments.bundle)
    narrow(bundle, manifest.class_names, manifest, arguments.data, arguments.target, arguments.accept)


if __name__ == "__main__":
    main()
