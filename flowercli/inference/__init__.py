"""Answering about photographs with onnxruntime alone, without torch."""

# Classes that an answer lists. Here, as the next is, because the help names it and loads nothing of all this.
DEFAULT_TOP_K = 5
# Pictures that a model is asked about at once: what TensorRT's engines are built for.
MOST_A_BATCH = 64
