"""Answering about photographs with onnxruntime alone, without torch."""
