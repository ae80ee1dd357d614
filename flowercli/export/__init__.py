"""From a trained bundle to ONNX files that agree with it."""
