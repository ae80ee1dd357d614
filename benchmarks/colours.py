"""Photographs stored in other colours than sRGB of eight bits: are they seen as before?

python benchmarks/colours.py PHOTOS [--model garden] [--count 100]

Each photograph is stored in other ways and read again: with its profile, and as it would be seen without it.
Differences are of the network's pixels, as a share of the whole range; those of grey ones are from the grey photograph.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops, ImageCms

from flowercli.inference.classifier import Classifier
from flowercli.inference.preprocess import load_pixels
from flowercli.inference.sources import walk
from flowercli.models import load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.hostile_pictures import DISPLAY_P3, PROPHOTO, profile, saved

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

SEED = 2024
SRGB = ImageCms.createProfile("sRGB")
# A JPEG's segment by which Adobe's programs say that CMYK is stored inverted.
ADOBE = 0xEE
Stored = tuple[bytes, bytes, Image.Image]


def main() -> None:
    """Print a row for each way of storing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    classifier = Classifier.open(load_model(arguments.model), "cpu")
    paths = sorted(walk(str(arguments.photos)))
    paths = random.Random(SEED).sample(paths, min(arguments.count, len(paths)))
    photos = [Image.open(path).convert("RGB") for path in paths]
    print(f"{len(photos)} photographs; the same class as the photograph itself, and the difference of pixels")
    print(f"{'stored as':34} {'same class':>10} {'mean':>8} {'worst':>8}    {'without its profile':>20} {'mean':>8}")
    for name, store in WAYS.items():
        report(name, classifier, [store(photo) for photo in photos])


def report(name: str, classifier: Classifier, stored: list[Stored]) -> None:
    """Print the row of one way of storing."""
    read = [compared(classifier, meant, data) for data, _, meant in stored]
    bare = [compared(classifier, meant, plain) for _, plain, meant in stored]
    same, differences = sum(same for same, _ in read), [difference for _, difference in read]
    without = f"{sum(same for same, _ in bare):>20} {np.mean([each for _, each in bare]):8.4f}"
    unlike = without if any(data != plain for data, plain, _ in stored) else ""
    print(f"{name:34} {same:>10} {np.mean(differences):8.4f} {max(differences):8.4f}    {unlike}")


def compared(classifier: Classifier, meant: Image.Image, data: bytes) -> tuple[bool, float]:
    """Return whether a picture gets the class of what is meant, and how different its pixels are."""
    ours, theirs = (load_pixels(each, classifier.spec) for each in (saved(meant, "PNG"), data))
    same = named(classifier, ours) == named(classifier, theirs)
    return same, float(np.abs(ours.astype(float) - theirs).mean() / 255)


def named(classifier: Classifier, pixels: npt.NDArray[np.uint8]) -> int:
    """Return the index of the class."""
    return int(classifier.run(pixels[np.newaxis])[0][0].argmax())


def in_profile(gamut: Any, gamma: float) -> Callable[[Image.Image], Stored]:
    """Return what stores a photograph in the colours of a profile, as a JPEG."""
    icc = profile(gamut, gamma, "wide")

    def store(photo: Image.Image) -> Stored:
        wide = ImageCms.profileToProfile(photo, SRGB, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
        assert wide is not None
        options = {"quality": 95, "subsampling": 0}
        return saved(wide, "JPEG", icc_profile=icc, **options), saved(wide, "JPEG", **options), photo

    return store


def cmyk(photo: Image.Image) -> Stored:
    """Store as Adobe's programs do: inverted, and saying so."""
    data = saved(photo.convert("CMYK"), "JPEG", quality=95, subsampling=0)
    return data, data, photo


def cmyk_unmarked(photo: Image.Image) -> Stored:
    """Store with zero for no ink, as ITU-T T.872 has it; Pillow stores the inverse of what it is given."""
    data = without_marker(saved(ImageChops.invert(photo.convert("CMYK")), "JPEG", quality=95, subsampling=0))
    return data, data, photo


def cmyk_unmarked_inverse(photo: Image.Image) -> Stored:
    """Store as Adobe's programs do, without saying so."""
    data = without_marker(cmyk(photo)[0])
    return data, data, photo


def without_marker(data: bytes) -> bytes:
    """Return a JPEG without the segment of Adobe's."""
    place = data.index(bytes([0xFF, ADOBE]))
    return data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]


def grey_of(dtype: str, scale: float, kind: str) -> Callable[[Image.Image], Stored]:
    """Return what stores the grey photograph as numbers of a type, of which ``scale`` is white."""

    def store(photo: Image.Image) -> Stored:
        grey = photo.convert("L")
        values = np.asarray(grey).astype(np.float64)
        # A reader takes the largest number for white where the file does not say what is.
        values[0, 0] = 255
        data = saved(Image.fromarray((values * (scale / 255)).astype(dtype)), kind)
        return data, data, Image.fromarray(values.astype(np.uint8)).convert("RGB")

    return store


def palette(photo: Image.Image) -> Stored:
    """Store 255 colours, and a corner that is transparent: seen on white."""
    few = photo.quantize(255)
    meant = few.convert("RGB")
    few.paste(255, (0, 0, few.width // 4, few.height // 4))
    meant.paste("white", (0, 0, few.width // 4, few.height // 4))
    data = saved(few, "PNG", transparency=255)
    return data, data, meant


WAYS: dict[str, Callable[[Image.Image], Stored]] = {
    "JPEG in Display P3": in_profile(DISPLAY_P3, 2.2),
    "JPEG in ProPhoto RGB": in_profile(PROPHOTO, 1.8),
    "JPEG in CMYK, Adobe's marker": cmyk,
    "JPEG in CMYK, no marker": cmyk_unmarked,
    "JPEG in CMYK, no marker, inverse": cmyk_unmarked_inverse,
    "PNG, grey of 16 bits": grey_of("uint16", 65535, "PNG"),
    "TIFF, grey floats of 0 to 1": grey_of("float32", 1.0, "TIFF"),
    "TIFF, grey floats of 0 to 255": grey_of("float32", 255.0, "TIFF"),
    "PNG, palette with transparency": palette,
}


if __name__ == "__main__":
    main()
