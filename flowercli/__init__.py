"""Name the flower in a photograph, and train, evaluate and export the model that does it."""

__version__ = "0.1.0"
