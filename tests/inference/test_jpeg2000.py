"""JPEG 2000 is decoded at the scale that is wanted, as Pillow holds the lock of all threads meanwhile; or refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, features
from support.hostile_pictures import gradient, saved

from flowercli.errors import ImageError
from flowercli.inference import jpeg2000
from flowercli.inference.preprocess import load_upright

pytestmark = pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow was built without it")
SIDE = 240


@pytest.mark.parametrize("size", [(2400, 1600), (2401, 1603), (4100, 4100), (641, 427), (300, 200)])
@pytest.mark.parametrize("options", [{}, {"tile_size": (256, 256)}, {"no_jp2": True}, {"irreversible": True}])
def test_the_scale_is_the_smallest_that_has_the_side(size, options):
    picture = gradient(600, 400).resize(size)
    small = load_upright(saved(picture, "JPEG2000", **options), SIDE)
    assert min(small.size) >= min(SIDE, *size)
    # Pillow cannot take every scale of sizes that are no multiples of it.
    assert min(small.size) < 4 * max(SIDE, 1) or min(size) < 4 * SIDE
    wanted = np.asarray(picture.resize(small.size, Image.Resampling.BOX), dtype=float)
    assert np.abs(np.asarray(small) - wanted).mean() < 3


def test_one_without_smaller_versions_has_a_limit():
    picture = gradient(3000, 2500)
    with pytest.raises(ImageError, match="without smaller versions") as refused:
        load_upright(saved(picture, "JPEG2000", num_resolutions=1), SIDE)
    assert refused.value.code == "too_large"
    assert load_upright(saved(picture, "JPEG2000", num_resolutions=3), SIDE).size == (750, 625)


def coded(data, offset, layout, value):
    """Return a picture with another value at an offset from its coding style."""
    place = data.index(b"\xff\x52") + offset
    return data[:place] + struct.pack(layout, value) + data[place + struct.calcsize(layout) :]


@pytest.mark.parametrize(("offset", "layout", "value"), [(6, ">H", 65535), (4, ">B", 1)])
def test_more_parts_than_a_photograph_has_are_refused(offset, layout, value):
    data = saved(gradient(1600, 1200), "JPEG2000", no_jp2=True, tile_size=(128, 128))
    # Precincts of one pixel, or 65,535 layers; where those have sizes of their own, they stand behind.
    data = coded(data, offset, layout, value)
    if offset == 4:
        place = data.index(b"\xff\x52")
        length = 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        levels = data[place + 9]
        style = data[place + 4 : place + length] + bytes(levels + 1)
        data = data[:place] + b"\xff\x52" + struct.pack(">H", 2 + len(style)) + style + data[place + length :]
    with pytest.raises(ImageError, match="too many parts"):
        load_upright(data, SIDE)


@pytest.mark.parametrize("content", [b"", jpeg2000.START, jpeg2000.START + bytes(60), bytes(100)])
def test_damaged_headers_are_left_to_the_decoder(content):
    assert jpeg2000.reduction(io.BytesIO(content), (100, 100), SIDE) == 0
