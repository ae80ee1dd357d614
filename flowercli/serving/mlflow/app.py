"""What each worker of ``flowers serve-mlflow`` runs: MLflow's scoring server with a model, warm, behind the gate."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from uvicorn.config import STARTUP_FAILURE

from flowercli.allocator import give_freed_memory_back
from flowercli.atomic import scratch_folder
from flowercli.mlflow_quietly import import_mlflow
from flowercli.serving.connections import MAX_CONNECTIONS, LimitedProtocol
from flowercli.serving.hosts import Hosts
from flowercli.serving.mlflow.gate import Gate
from flowercli.serving.mlflow.save import input_example, save_for_this_environment
from flowercli.serving.parent import end_with_parent
from flowercli.serving.sockets import connections_allowed

# The folder of the model, or a lone ``.onnx``.
MODEL_VARIABLE = "FLOWERS_MLFLOW_MODEL"
# The names that the server answers to, as JSON.
HOSTS_VARIABLE = "FLOWERS_MLFLOW_HOSTS"
# Of one request; the pixels of a picture are limited where it is decoded.
MAX_PICTURES = 256


def create() -> Gate:
    """Return the application. A worker that cannot load its model ends with the code that ends the server."""
    end_with_parent()
    give_freed_memory_back()
    LimitedProtocol.max_connections = connections_allowed(MAX_CONNECTIONS)
    # pandas would keep texts in Arrow: 40 MiB of libraries a worker, and a pool that keeps what strangers sent.
    sys.modules["pyarrow"] = None  # type: ignore[assignment]  # how Python says that a module is not to be found
    try:
        return _create(Path(os.environ[MODEL_VARIABLE]))
    except Exception as error:  # noqa: BLE001  (the code of a model raises anything)
        reason = (str(error).splitlines() or [""])[0]
        logging.getLogger("uvicorn.error").error("The model cannot be loaded: %s: %s", type(error).__name__, reason)  # noqa: TRY400
        sys.exit(STARTUP_FAILURE)


def _create(path: Path) -> Gate:
    import_mlflow()
    from mlflow.pyfunc import scoring_server

    model = _load(path)
    # The first picture takes longer: no client has to wait for it.
    model.predict(input_example())
    hosts = Hosts(**json.loads(os.environ[HOSTS_VARIABLE]))
    return Gate(scoring_server.init(model), MAX_PICTURES, hosts)


def _load(path: Path) -> Any:
    """Load an MLflow model, or a lone ``.onnx``, which becomes one for the moment of loading."""
    mlflow = import_mlflow()
    if path.is_dir():
        return mlflow.pyfunc.load_model(str(path))
    with scratch_folder("mlflow") as temporary:
        folder = temporary / "model"
        save_for_this_environment(path, folder)
        return mlflow.pyfunc.load_model(str(folder))
