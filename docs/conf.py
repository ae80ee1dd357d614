"""Sphinx builds this site: ``nox -s docs``."""

from __future__ import annotations

from flowercli import __version__

project = "flowers"
author = "The flowers authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "flowers"
