"""On which terms the photographs are that the shipped models learnt from, for their model cards."""

from __future__ import annotations

TERMS = {
    "flower_photos": "TensorFlow's flower_photos, Creative Commons by attribution; its LICENSE.txt lists the authors.",
    "flowers17": "Oxford-17 (Nilsback and Zisserman, 2006), from the web; no licence stated, used for research.",
    "oxford102": "Oxford-102 (Nilsback and Zisserman, 2008), from the web; no licence stated, used for research.",
    "more_flowers": "photographs from Flickr; no licence stated.",
}
OUTLIERS = (
    "pictures without a flower of the list: fruit, packages, trees, trash and documents MIT; screens CC BY-SA; potato "
    "leaves CC BY-SA or CC0; textures, paintings, sketches, leaves, bark, animals, ImageNet samples and wild plants "
    "for research, or with no licence stated."
)


def terms(sources: set[str], *, outliers: bool) -> dict[str, str]:
    """Return the terms of the sources of a model's photographs; a model of one dataset has no source but ``""``."""
    found = {name: text for name, text in TERMS.items() if name in (sources - {""} or {"flower_photos"})}
    return found | ({"outliers": OUTLIERS} if outliers else {})
