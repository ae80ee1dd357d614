"""Name the flower in a photograph, and train, evaluate and export the model that does it."""

import os

__version__ = "0.1.0"

# onnxruntime sends reports to its makers unless it is told not to. Before anything imports it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
