"""The web page: its files, by name."""
