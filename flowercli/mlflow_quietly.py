"""Import MLflow without its telemetry, its chatter and the warnings of its own modules."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from types import ModuleType

# What the user has set already is left as it is.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow's own would hold a request for minutes; the sender tries again by itself.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
OWN_MODULES = r"(mlflow|alembic|sqlalchemy)(\.|$)"


def import_mlflow() -> ModuleType:
    """Import MLflow, which takes seconds, and return it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if "mlflow.pyfunc" not in sys.modules:
        with warnings.catch_warnings():
            # Raised while MLflow's modules are read, about their own code.
            warnings.simplefilter("ignore")
            importlib.import_module("mlflow.pyfunc")
    # Raised while they run, about how MLflow uses SQLAlchemy.
    warnings.filterwarnings("ignore", module=OWN_MODULES)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return sys.modules["mlflow"]
