"""Bundles and backbones from the Hugging Face Hub, and bundles to it, through the Hub's own client; no torch."""
