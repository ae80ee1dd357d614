"""Training: everything here may import torch."""

import flowercli.evaluation  # noqa: F401  (before any module here imports torch)
