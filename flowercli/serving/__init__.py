"""Answering to other programs: no torch here."""
