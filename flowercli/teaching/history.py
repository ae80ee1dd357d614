"""What a model was taught so far, as its description tells: what it was before, the flowers, what it forgot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from flowercli.description import SHA256, is_number
from flowercli.errors import BundleError

if TYPE_CHECKING:
    from flowercli.bundle import Bundle

KEY = "taught"
AGAIN = "Teach the model that it came from again: flowers teach --folder DIR"


@dataclass(frozen=True)
class History:
    """The ``taught`` part of a description.

    ``class_names``, ``scientific_names`` and ``threshold`` are those of the model before anything was taught it, and
    ``model`` is what that was called. ``flowers`` has the sha256 of each photograph by class name, in the order of
    their class indices in ``embeddings.npz``; ``forgotten`` are classes of before that are not answered any more.
    """

    model: str
    graph: str
    class_names: list[str]
    scientific_names: list[str | None]
    threshold: float
    flowers: dict[str, list[str]] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, bundle: Bundle, graph: str) -> Self:
        """Read it of a bundle whose graph has this file name; of one that was taught nothing it is as good as empty.

        Raises:
            BundleError: it is damaged.
        """
        found = bundle.section.get(KEY)
        if found is None:
            names, scientific = bundle.class_names, bundle.scientific_names
            sha256 = bundle.section["files"][graph]["sha256"]
            return cls(bundle.path.name, sha256, names, scientific, bundle.rejection_threshold)
        try:
            history = cls(**found)
        except TypeError as error:
            raise BundleError(f"The description of {bundle.path} is damaged: {KEY}.", hint=AGAIN) from error
        if not history.is_sound:
            raise BundleError(f"The description of {bundle.path} is damaged: {KEY}.", hint=AGAIN)
        return history

    @property
    def is_sound(self) -> bool:
        """Whether it holds what it should."""
        names, scientific = self.class_names, self.scientific_names
        texts = [self.model, self.graph, *(names if isinstance(names, list) else [None])]
        if not all(isinstance(text, str) and text for text in texts) or len(set(names)) != len(names) or not names:
            return False
        if not isinstance(scientific, list) or len(scientific) != len(names):
            return False
        if not all(name is None or isinstance(name, str) for name in scientific) or not is_number(self.threshold):
            return False
        if not isinstance(self.forgotten, list) or not set(map(str, self.forgotten)) < set(names):
            return False
        lists = self.flowers.values() if isinstance(self.flowers, dict) else [None]
        return 0 <= self.threshold <= 1 and all(
            isinstance(one, list) and one and all(isinstance(text, str) and SHA256.fullmatch(text) for text in one)
            for one in lists
        )

    @property
    def is_empty(self) -> bool:
        """Whether the model is as it was."""
        return not self.flowers and not self.forgotten

    def as_dict(self) -> dict[str, Any]:
        """Return it as ``config.json`` holds it."""
        return dict(vars(self))

    def answers(self) -> list[tuple[str, str | None]]:
        """Return the classes that are answered with their scientific names: those of before, then the new ones."""
        from flowercli.data.class_names import scientific_name

        before = zip(self.class_names, self.scientific_names, strict=True)
        kept = [(name, scientific) for name, scientific in before if name not in self.forgotten]
        return kept + [(name, scientific_name(name)) for name in self.flowers if name not in dict(kept)]
