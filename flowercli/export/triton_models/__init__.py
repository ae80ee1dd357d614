"""The models of Triton's Python backend; each is copied as ``model.py`` and run by the server, not imported here."""
