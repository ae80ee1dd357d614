"""The page that names flowers in the browser: its files, for ``flowers serve`` and for a static site."""
