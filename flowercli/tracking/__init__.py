"""Recording training runs in MLflow: written to disk first, sent by a thread of its own."""
