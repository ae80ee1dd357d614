"""The models that ship inside the package, each a bundle in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from flowercli.bundle import Bundle

DEFAULT = "flowers5"
FOLDER = Path(__file__).parent


def shipped_names() -> list[str]:
    """Return the names of the shipped bundles."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


def load_model(name: str | None) -> Bundle:
    """Load a bundle by the name of a shipped one or by path; the default one for ``None``.

    A name wins over a folder of the same name, which ``./name`` still reaches.

    Raises:
        BundleError: there is none, or it cannot be read.
    """
    if name is None or name in shipped_names():
        return Bundle.load(FOLDER / (name or DEFAULT))
    return Bundle.load(Path(name))
