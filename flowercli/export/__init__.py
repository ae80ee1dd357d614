"""From a trained bundle to ONNX files that agree with it."""

import flowercli.training  # noqa: F401  (before any module here imports torch)
