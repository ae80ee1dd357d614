"""Figures, and pages that hold them: everything that imports matplotlib."""
