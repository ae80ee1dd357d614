"""Training and evaluation: everything here may import torch."""
