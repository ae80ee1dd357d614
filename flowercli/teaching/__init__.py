"""A flower more from a few photographs: a linear head on what the network already sees; no torch."""
