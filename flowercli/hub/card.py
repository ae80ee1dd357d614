"""The model card on its way to the Hub: what people wrote stays, and a licence is stated if its owner says which."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flowercli.bundle import CARD, Bundle
from flowercli.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import RepoCard


@dataclass(frozen=True)
class Card:
    """A model card; ``corrected`` is whether people wrote it, or changed it since it was written for them."""

    content: bytes
    corrected: bool

    @classmethod
    def of(cls, bundle: Bundle) -> Self | None:
        """Return the card that a bundle lists."""
        if CARD not in bundle.section["files"]:
            return None
        return cls(bundle.file(CARD).read_bytes(), bundle.card_is_corrected)

    def check(self) -> None:
        """See that the Hub reads it.

        Raises:
            HubError: its head is no YAML.
        """
        self._parsed()

    @property
    def license_id(self) -> str | None:
        """The licence that it states."""
        stated = self._parsed().data.to_dict().get("license")
        return stated if isinstance(stated, str) else None

    @property
    def has_text(self) -> bool:
        """Whether there is more than a head; the Hub makes such a card of the licence that a repository begins with."""
        return bool(self._parsed().text.strip())

    def stating(self, license_id: str) -> Self:
        """Return the same card with this licence in its head.

        Raises:
            HubError: its head is no YAML.
        """
        from huggingface_hub import metadata_load, metadata_save

        self.check()  # Of the same text, so that what follows cannot fail.
        with tempfile.TemporaryDirectory(prefix="flowers-card-") as folder:
            path = Path(folder) / CARD
            path.write_text(self._text(), encoding="utf-8", newline="")
            metadata_save(path, (metadata_load(path) or {}) | {"license": license_id})
            return replace(self, content=path.read_bytes())

    def listed(self) -> dict[str, Any]:
        """Return what a bundle lists of it."""
        return {"sha256": hashlib.sha256(self.content).hexdigest(), "size": len(self.content)}

    def _text(self) -> str:
        """Return the card with a line feed for a carriage return alone, of which the Hub's reader and writer differ."""
        return re.sub(r"\r(?!\n)", "\n", self.content.decode("utf-8-sig"))

    def _parsed(self) -> RepoCard:
        from huggingface_hub import RepoCard
        from yaml import YAMLError

        try:
            return RepoCard(self._text(), ignore_metadata_errors=True)
        except (ValueError, TypeError, YAMLError) as error:  # Keys that are no text are a TypeError.
            message = f"A {CARD} is none that the Hub reads: {' '.join(str(error).split())}"
            raise HubError(message, hint="Correct the YAML between its first two lines of three hyphens.") from error


def card_to_have(own: Card | None, there: Card | None, license_id: str | None) -> Card | None:
    """Return the card that a repository is to have.

    Args:
        own: that of the bundle that is published: it goes there if people corrected it.
        there: that of the repository: it stays if people corrected it, and goes on stating its licence otherwise.
        license_id: what to state, if the user says it.

    Raises:
        HubError: the head of one of them is no YAML.
    """
    card = own
    if own is None or (there is not None and there.corrected and not own.corrected and there.has_text):
        card = there
    elif there is not None and not own.corrected:
        license_id = license_id or own.license_id or there.license_id
    if card is None or license_id in (None, card.license_id):
        return card
    return card.stating(str(license_id))
