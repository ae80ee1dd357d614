"""Name the flower in a photograph, and train, evaluate and export the model that does it.

For Python programs: ``from flowercli import Classifier``.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowercli.api import Classifier as Classifier

__version__ = "0.1.0"

# onnxruntime sends reports to its makers unless it is told not to. Before anything imports it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Load what programs import from here when the first one does: the command line starts without it."""
    if name != "Classifier":
        raise AttributeError(f"module 'flowercli' has no attribute {name!r}")
    from importlib import import_module

    return import_module("flowercli.api").Classifier
