"""Teach a finished model to refuse, without its weights: ``python -m flowercli.export.refusal``.

The network stays as it is. What tells its flowers from other pictures is a logistic regression on its embedding and its
largest logit, and is put behind the graph as the output ``known``, by the formula of ``training.known``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_node, make_tensor_value_info
from sklearn.linear_model import LogisticRegression

from flowercli import bundle as bundles
from flowercli.atomic import new_folder
from flowercli.bundle import CARD, MANIFEST, ONNX_INT8, Bundle
from flowercli.data.class_names import scientific_name
from flowercli.data.manifest import Manifest, manifest_path
from flowercli.export.graph import write_model
from flowercli.inference.calibration import rejection_threshold
from flowercli.inference.classifier import OUTPUTS, Classifier
from flowercli.monitoring.sampling import add_reference, choose
from flowercli.training.answers import ask
from flowercli.training.card import model_card
from flowercli.training.data_terms import terms
from flowercli.training.known import Known, Line, NoneLogit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from flowercli.data.manifest import Entry

PROBABILITIES, EMBEDDING, KNOWN = OUTPUTS
STALE = ("novelty", "metrics")


def teach(bundle: Bundle, own: Path, data: Path, outliers: Path, target: Path, accept: float) -> Bundle:
    """Write a copy of a bundle whose int8 graph says how sure it is.

    Args:
        bundle: with an int8 graph and its manifest.
        own: the dataset of that manifest, whose validation photographs set the threshold.
        data: a merged dataset with outliers in its split; photographs of other classes than the bundle's are more.
        outliers: the folder of its outliers.
        target: the folder of the new bundle, which must not exist.
        accept: share of the validation photographs to keep.
    """
    proto = onnx.load(str(bundle.file(ONNX_INT8)))
    own_manifest, wide = Manifest.read(bundle.file(MANIFEST)), Manifest.read(manifest_path(data))
    inside = [photo for photo in wide.photos if photo.class_name in bundle.class_names]
    others = [photo for photo in wide.photos if photo.class_name not in bundle.class_names]

    def look(root: Path, photos: Sequence[Entry], split: str) -> npt.NDArray[np.float32]:
        return ask(bundle, "int8", root, [photo for photo in photos if photo.split == split]).embeddings

    flowers = look(data, inside, "train")
    pools = [(data, others), (outliers, wide.outliers)]
    negatives = np.concatenate([look(root, photos, "train") for root, photos in pools if photos])
    known = fit(logits_of(proto.graph, flowers), flowers, logits_of(proto.graph, negatives), negatives)
    seen = look(data, inside, "val")
    known = Known(Known.fit(None, (logits_of(proto.graph, seen), seen), None).another, known.none, known.nothing)
    mine = look(own, own_manifest.photos, "val")
    threshold = rejection_threshold(known(logits_of(proto.graph, mine), mine), accept)
    section = {key: value for key, value in bundle.section.items() if key not in STALE} | {
        "known": known.to_json(),
        "rejection_threshold": threshold,
        "scientific_names": [scientific_name(name) for name in bundle.class_names],
        "refusal_taught": {"flowers": len(flowers), "others": len(negatives)},
        "data_terms": terms(wide),
    }
    add_known(proto.graph, known, bundle.temperature)
    return _write(bundle, proto, section, own, own_manifest, target)


def fit(
    logits: npt.NDArray[Any], embeddings: npt.NDArray[Any], other_logits: npt.NDArray[Any], others: npt.NDArray[Any]
) -> Known:
    """Fit the layer of "none of these" and its evidence to training pictures; the rest is for validation to say."""
    tops = np.concatenate([logits.max(axis=1), other_logits.max(axis=1)])[:, np.newaxis]
    scale = float(np.linalg.norm(embeddings, axis=1).mean())
    columns = np.hstack([tops, np.concatenate([embeddings, others]) / scale])
    line = LogisticRegression(class_weight="balanced", C=100.0, max_iter=3000)
    line.fit(columns, np.repeat([1, 0], [len(embeddings), len(others)]))
    # a·top + w·e + b is a·(top - none) + b with a layer of "none of these" of weight -w/a.
    slope = max(float(line.coef_[0, 0]), 1e-3)
    weight = (-line.coef_[0, 1:] / scale / slope).astype(np.float32)
    return Known(Line(0.0, 0.0), NoneLogit(weight, 0.0), Line(slope, float(line.intercept_[0])))


def logits_of(graph: onnx.GraphProto, embeddings: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the logits ``[N, C]`` of embeddings ``[N, D]``, by the linear layer behind a graph's embedding."""
    head = next(node for node in graph.node if node.op_type == "Gemm" and EMBEDDING in node.input)
    values = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    logits: npt.NDArray[np.float64] = embeddings.astype(np.float64) @ values[head.input[1]].T + values[head.input[2]]
    return logits


def add_known(graph: onnx.GraphProto, known: Known, temperature: float) -> None:
    """Put the output ``known`` ``[N, 1]`` behind a graph, in the place of one that it may have."""
    assert known.none is not None
    assert known.nothing is not None
    for node in graph.node:
        node.output[:] = ["known_before" if name == KNOWN else name for name in node.output]
    for output in [output for output in graph.output if output.name == KNOWN]:
        graph.output.remove(output)
    softmax = next(node for node in graph.node if PROBABILITIES in node.output)
    values = {
        "known_axis": np.array([1], dtype=np.int64),
        "known_one": np.array(1, dtype=np.float32),
        "none_weight": known.none.weight[:, np.newaxis],
        "none_bias": np.array([known.none.bias], dtype=np.float32),
        "temperature": np.array(temperature, dtype=np.float32),
        **{f"another_{name}": np.array(value, dtype=np.float32) for name, value in known.another._asdict().items()},
        **{f"nothing_{name}": np.array(value, dtype=np.float32) for name, value in known.nothing._asdict().items()},
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    steps = [
        ("ReduceMax", [softmax.input[0], "known_axis"], "top_by_temperature"),
        ("Mul", ["top_by_temperature", "temperature"], "top"),
        ("Gemm", [EMBEDDING, "none_weight", "none_bias"], "none"),
        ("Sub", ["top", "none"], "above"),
        *_against("another", "top"),
        *_against("nothing", "above"),
        ("Add", ["against_another", "against_nothing"], "against"),
        ("Add", ["against", "known_one"], "whole"),
        ("Reciprocal", ["whole"], KNOWN),
    ]
    graph.node.extend(make_node(kind, inputs, [output], name=f"known_{output}") for kind, inputs, output in steps)
    batch = graph.output[0].type.tensor_type.shape.dim[0].dim_param
    graph.output.append(make_tensor_value_info(KNOWN, onnx.TensorProto.FLOAT, [batch, 1]))


def _against(name: str, source: str) -> list[tuple[str, list[str], str]]:
    return [
        ("Mul", [source, f"{name}_scale"], f"{name}_scaled"),
        ("Add", [f"{name}_scaled", f"{name}_offset"], f"{name}_evidence"),
        ("Neg", [f"{name}_evidence"], f"{name}_negative"),
        ("Exp", [f"{name}_negative"], f"against_{name}"),
    ]


def _write(
    bundle: Bundle, proto: onnx.ModelProto, section: dict[str, Any], own: Path, manifest: Manifest, target: Path
) -> Bundle:
    description = {**bundle.config, "flowers": {**section, "files": {}}}
    with new_folder(target) as folder, tempfile.TemporaryDirectory(prefix="flowers-refusal-") as scratch:
        files = {name: Path(scratch) / name for name in (ONNX_INT8, MANIFEST, CARD)}
        write_model(proto, Bundle(target, description), files[ONNX_INT8])
        shutil.copyfile(bundle.file(MANIFEST), files[MANIFEST])
        files[CARD].write_text(model_card(description), encoding="utf-8")
        made = bundles.create(folder, description, files)
        add_reference(Classifier.open(made, "cpu"), own, choose(manifest))
    return Bundle.load(target)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bundle", "own", "data", "outliers", "target"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--accept", type=float, default=0.95)
    arguments = vars(parser.parse_args())
    teach(Bundle.load(arguments.pop("bundle")), **arguments)


if __name__ == "__main__":
    main()
