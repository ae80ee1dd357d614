"""Answering about photographs with onnxruntime alone, without torch."""

# Classes that an answer lists. Here, because the help names it and loads nothing of all this.
DEFAULT_TOP_K = 5
