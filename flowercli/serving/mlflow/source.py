"""From what ``--model`` says to what is served: a graph of a bundle, or the folder of an MLflow model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowercli.atomic import scratch_folder
from flowercli.errors import ServingError
from flowercli.inference.classifier import Classifier
from flowercli.mlflow_quietly import import_mlflow
from flowercli.models import load_model
from flowercli.plain_file import read_plain_file
from flowercli.serving.mlflow.request import COLUMN

DESCRIPTION = "MLmodel"
# Not the drive of a Windows path.
URI = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


def is_uri(model: str | None) -> bool:
    """Whether a model is named by an MLflow URI: ``runs:/…``, ``models:/…``, ``s3://…``."""
    return model is not None and URI.match(model) is not None


@contextmanager
def served(model: str | None, tracking_uri: str) -> Iterator[tuple[Path, str]]:
    """Yield the path of what to serve, which exists as long as the block runs, and what it is called.

    Args:
        model: a bundle or the name of one, the folder of an MLflow model, or an MLflow URI; the default for ``None``.
        tracking_uri: where ``runs:/`` and ``models:/`` are looked up.

    Raises:
        ServingError: MLflow has no such model, or it does not name flowers.
        BundleError: there is no such bundle, or it has no graph.
    """
    if model is not None and is_uri(model):
        with scratch_folder("mlflow") as folder:
            yield _checked(_fetch(model, tracking_uri, folder)), model
    elif model is not None and (Path(model) / DESCRIPTION).is_file():
        yield _checked(Path(model)), model
    else:
        # Opened here to meet what is wrong with it before a worker does, and to serve the graph that `classify` takes.
        classifier = Classifier.open(load_model(model))
        bundle = classifier.bundle
        yield (bundle.path if bundle.is_lone_onnx else bundle.path / classifier.runtime.graph), bundle.name


def _fetch(uri: str, tracking_uri: str, folder: Path) -> Path:
    mlflow = import_mlflow()
    # Also of the registry, which `models:/` is looked up in.
    mlflow.set_tracking_uri(tracking_uri)
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    except Exception as error:  # MLflow's, SQLAlchemy's, requests': they have no common base.
        message = f"MLflow cannot give {uri}: {' '.join(str(error).split())[:300]}"
        hint = f"Looked up in {tracking_uri}; another store: --tracking-uri URI"
        raise ServingError(message, hint=hint) from error


def _checked(folder: Path) -> Path:
    """Refuse a model that does not take what is sent to ours.

    Raises:
        ServingError: it does not.
    """
    if [column.get("name") for column in _inputs(folder)] != [COLUMN]:
        message = f"{folder} is not a flowers model: its input is not one column '{COLUMN}'."
        raise ServingError(message, hint="flowers export BUNDLE --mlflow FOLDER makes one.")
    return folder


def _inputs(folder: Path) -> list[dict[str, Any]]:
    import yaml

    try:
        description = yaml.safe_load(read_plain_file(folder / DESCRIPTION))
        inputs = json.loads(description["signature"]["inputs"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        message = f"{folder} is not an MLflow model with a signature."
        raise ServingError(message, hint="flowers export BUNDLE --mlflow FOLDER makes one.") from error
    return [column for column in inputs if isinstance(column, dict)] if isinstance(inputs, list) else []
