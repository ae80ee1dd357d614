"""Answers as keywords in XMP sidecars, where programs that manage photographs read them: no torch."""
