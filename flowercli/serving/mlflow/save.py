"""Write an MLflow model: code, a lone ``.onnx``, signature, example and requirements, complete in one folder."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path
from typing import Any

from PIL import Image

from flowercli.atomic import scratch_folder
from flowercli.inference import DEFAULT_TOP_K
from flowercli.mlflow_quietly import import_mlflow
from flowercli.serving.mlflow.request import COLUMN
from flowercli.standalone import copy_code, pinned, pinned_onnxruntime

REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow")
EXAMPLE_SIZE = (64, 64)
EXAMPLE_COLOUR = (220, 40, 60)


def save_mlflow_model(onnx: Path, target: Path) -> None:
    """Write the MLflow model of a lone ``.onnx`` into the new folder ``target``."""
    mlflow = import_mlflow()
    with scratch_folder("mlflow") as temporary:
        code = copy_code(temporary)
        with warnings.catch_warnings():
            # MLflow compares the columns of the example with a range, which pandas 3 warns of.
            warnings.filterwarnings("ignore", message="Operation with range is deprecated")
            mlflow.pyfunc.save_model(
                str(target),
                python_model=str(Path(__file__).with_name("model.py")),
                artifacts={"bundle": str(onnx)},
                code_paths=[str(code)],
                signature=signature(),
                input_example=(input_example(), {"top_k": DEFAULT_TOP_K}),
                pip_requirements=requirements(),
            )


def save_for_this_environment(onnx: Path, target: Path) -> None:
    """Write an MLflow model into the new folder ``target`` that is loaded here, at once, and then thrown away.

    It runs this package's own code, and lists no requirements: MLflow spends a second on comparing them.
    """
    import_mlflow().pyfunc.save_model(
        str(target),
        python_model=str(Path(__file__).with_name("model.py")),
        artifacts={"bundle": str(onnx)},
        signature=signature(),
        pip_requirements=[],
    )


def signature() -> Any:
    """Return what the model takes and gives: the keys of ``flowers classify --json`` without the path.

    Either ``error`` is there or the others, of which ``scientific_name`` and ``reason`` may be null.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Map, Object, Property

    error = Object([Property("code", DataType.string), Property("message", DataType.string)])
    outputs = {
        "predicted_class": DataType.string,
        "scientific_name": DataType.string,
        "class_index": DataType.long,
        "confidence": DataType.double,
        "known": DataType.double,
        "all_predictions": Map(DataType.double),
        "rejected": DataType.boolean,
        "reason": DataType.string,
        "error": error,
    }
    columns = [ColSpec(kind, name, required=False) for name, kind in outputs.items()]
    params = ParamSchema([ParamSpec("top_k", "integer", DEFAULT_TOP_K)])
    return ModelSignature(Schema([ColSpec(DataType.string, COLUMN)]), Schema(columns), params)


def input_example() -> Any:
    """Return a data frame with one small picture."""
    import pandas as pd

    buffer = io.BytesIO()
    Image.new("RGB", EXAMPLE_SIZE, EXAMPLE_COLOUR).save(buffer, "PNG")
    return pd.DataFrame({COLUMN: [base64.b64encode(buffer.getvalue()).decode()]})


def requirements() -> list[str]:
    """Return the packages that a server needs, at the versions of this environment; torch is not one of them."""
    return [*pinned(*REQUIREMENTS), pinned_onnxruntime()]
