"""On which terms the photographs are that the shipped models learnt from, for their model cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest

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


def terms(manifest: Manifest) -> dict[str, str]:
    """Return the terms of each source of the photographs in a manifest, and of the outliers if there are any."""
    sources = {photo.source for photo in manifest.photos}
    found = {name: text for name, text in TERMS.items() if name in sources}
    return found | ({"outliers": OUTLIERS} if manifest.outliers else {})
