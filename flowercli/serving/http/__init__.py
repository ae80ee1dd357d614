"""``flowers serve``: answers over HTTP; no torch here."""
