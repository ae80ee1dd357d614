"""What a model was asked about lately, and whether that still resembles what it was made for; no torch here."""
