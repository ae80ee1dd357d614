"""``flowers export --triton``: a model repository that a Triton server serves as it is; no torch here.

Three models: pixels to probabilities, the bytes of a picture to pixels, and the two in a row. The server runs a copy of
this package's own preprocessing, so that its answers are those of ``flowers classify``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowercli.atomic import new_folder, write_text
from flowercli.bundle import ON_CPU, ON_GPU, ONNX, PLAN, Bundle, to_json
from flowercli.description import output_names
from flowercli.errors import BundleError, UsageError
from flowercli.export.package import Options, Packed
from flowercli.export.triton_config import (
    DECODE,
    ENSEMBLE,
    KNOWN,
    LABELS,
    MAX_BATCH,
    PIXELS,
    Shapes,
    decode_config,
    ensemble_config,
    onnxruntime_config,
    python_config,
    tensorrt_config,
    to_text,
)
from flowercli.inference.preprocess import PreprocessSpec
from flowercli.inference.session import choose_graph
from flowercli.shown import in_shell
from flowercli.standalone import copy_code, pinned, pinned_onnxruntime

ONNXRUNTIME, PYTHON, TENSORRT = "onnxruntime", "python", "tensorrt"
# The graphs that each backend takes, the best first: that of onnxruntime runs on a GPU, that of Python on the CPU.
GRAPHS = {ONNXRUNTIME: ON_GPU, PYTHON: ON_CPU}
BACKENDS = (ONNXRUNTIME, PYTHON, TENSORRT)
MODELS = Path(__file__).with_name("triton_models")
VERSION = "1"
# Stock images of one release a month; <yy.mm> is for the user to choose, by driver and GPU.
IMAGE = "nvcr.io/nvidia/tritonserver:<yy.mm>-py3"


def require_backend(options: Options) -> None:
    """Refuse what Triton has no backend for, before any work is done.

    Raises:
        UsageError: there is no such backend.
    """
    if options.triton_backend not in BACKENDS:
        raise UsageError(f"--triton-backend {options.triton_backend}: choose one of {', '.join(BACKENDS)}.")


def write_repository(bundle: Bundle, target: Path, options: Options) -> Packed:
    """Write the Triton model repository of a bundle into the new folder ``target``, after :func:`require_backend`.

    Args:
        bundle: a folder or a lone ``.onnx``; it needs no torch weights.
        target: it appears under its name only when it is complete.
        options: ``triton_backend`` is what runs the graph: ``onnxruntime``; ``python``, onnxruntime on the CPU for
            servers without that backend; ``tensorrt``, for a bundle with an engine (written by Triton's documentation,
            untested).

    Raises:
        BundleError: the bundle lacks the graph or a part of its description, or a file is altered.
    """
    backend = options.triton_backend
    shapes = _shapes(bundle, backend)
    with new_folder(target) as folder:
        graph = _write_pixels(bundle, folder, backend, shapes)
        _write_decode(bundle, folder, shapes)
        _write_model(folder, ENSEMBLE, ensemble_config(shapes))
        # A folder without files does not survive git, S3 or zip, and Triton wants one for each version.
        write_text(folder / ENSEMBLE / VERSION / ".keep", "")
        for model in (ENSEMBLE, PIXELS):
            write_text(folder / model / LABELS, _labels(bundle))
        write_text(folder / "requirements.txt", _requirements(backend))
    return _packed(target, backend, graph)


def _packed(target: Path, backend: str, graph: str) -> Packed:
    """Return what is said of a repository: which model takes, gives and is run by what."""
    models, answers = (ENSEMBLE, DECODE, PIXELS), "probabilities, embedding, known"
    takes = ("the bytes of pictures", "the bytes of pictures", "pixels")
    run_by = ("ensemble of the two below", "python", f"{backend} ({graph})")
    return Packed(
        target,
        (
            f"The server's Python needs: pip install -r {in_shell(target / 'requirements.txt')}",
            f"Now, in {IMAGE}: tritonserver --model-repository={in_shell(target.resolve())}",
        ),
        {"repository": str(target), "backend": backend, "graph": graph, "models": [*models]},
        ("Model", "Takes", "Gives", "Run by"),
        [*zip(models, takes, (answers, "pixels", answers), run_by, strict=True)],
        left=("Takes", "Gives", "Run by"),
    )


def _shapes(bundle: Bundle, backend: str) -> Shapes:
    spec = PreprocessSpec.from_pretrained_cfg(bundle.pretrained_cfg)
    embedding = bundle.section.get("embedding_size")
    if not isinstance(embedding, int):
        raise BundleError(f"The description in {bundle.path} is incomplete: embedding_size missing.")
    largest = _plan_record(bundle).get("max_batch", MAX_BATCH) if backend == TENSORRT else MAX_BATCH
    return Shapes(spec.height, spec.width, len(bundle.class_names), embedding, _has_known(bundle, backend), largest)


def _has_known(bundle: Bundle, backend: str) -> bool:
    """Whether what answers gives ``known``: the Python backend always does, the others what the graph has."""
    if backend == PYTHON:
        return True
    # An engine cannot be looked into here; it is made of the graph that goes before it.
    return KNOWN in output_names(choose_graph(bundle, GRAPHS[ONNXRUNTIME]))


def _write_pixels(bundle: Bundle, folder: Path, backend: str, shapes: Shapes) -> str:
    """Write the model that runs the graph, and return which file of the bundle it is."""
    if backend == TENSORRT:
        return _write_plan(bundle, folder, shapes)
    graph = choose_graph(bundle, GRAPHS[backend])
    version = _write_model(folder, PIXELS, (python_config if backend == PYTHON else onnxruntime_config)(shapes))
    shutil.copyfile(graph, version / ONNX)
    if backend == PYTHON:
        shutil.copyfile(MODELS / "pixels.py", version / "model.py")
        copy_code(version)
    return graph.name


def _write_plan(bundle: Bundle, folder: Path, shapes: Shapes) -> str:
    plan = bundle.file(PLAN)
    capability = _plan_record(bundle).get("compute_capability")
    if not isinstance(capability, str):
        message = f"The bundle {bundle.path} does not say which GPU its {PLAN} was built for."
        raise BundleError(message, hint=f"flowers export {in_shell(bundle.path)} --trt")
    name = f"model_cc{capability.replace('.', '')}.plan"
    shutil.copyfile(plan, _write_model(folder, PIXELS, tensorrt_config(shapes, {capability: name})) / name)
    return PLAN


def _plan_record(bundle: Bundle) -> dict[str, Any]:
    """Return what the bundle records of its engine: ``compute_capability`` and ``max_batch`` are used here."""
    record: dict[str, Any] = bundle.section.get("exports", {}).get(PLAN, {})
    return record


def _write_decode(bundle: Bundle, folder: Path, shapes: Shapes) -> None:
    version = _write_model(folder, DECODE, decode_config(shapes))
    shutil.copyfile(MODELS / "decode.py", version / "model.py")
    write_text(version / "preprocess.json", to_json(bundle.pretrained_cfg))
    copy_code(version)


def _write_model(folder: Path, name: str, config: Mapping[str, Any]) -> Path:
    """Write the configuration of a model, and return the folder of its only version."""
    version = folder / name / VERSION
    version.mkdir(parents=True)
    write_text(folder / name / "config.pbtxt", to_text(config))
    return version


def _labels(bundle: Bundle) -> str:
    if any("\n" in name for name in bundle.class_names):
        raise BundleError("A class name of the bundle holds a line break, which a labels file cannot.")
    return "".join(f"{name}\n" for name in bundle.class_names)


def _requirements(backend: str) -> str:
    """Return what must be installed on the server; numpy is there already."""
    # With numpy 2 the Python backend up to Triton 24.10 reads wrong bytes and dies; the images hold 1.26.
    return "\n".join([*pinned("pillow"), *([pinned_onnxruntime()] if backend == PYTHON else []), "numpy<2"]) + "\n"
