"""What strangers send costs no more than its pixels, starts nothing, and has the colours that it was given."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image, ImageChops
from support.hostile_pictures import DISPLAY_P3, EXPENSIVE, PROPHOTO, gradient, many_scans, postscript, profile, saved

from flowercli.errors import ImageError
from flowercli.inference.preprocess import PreprocessSpec, load_picture, load_pixels

SPEC = PreprocessSpec(224, 224, "bicubic", 0.875, (0, 0, 0), (1, 1, 1))
LIMIT_MIB = 400


@pytest.mark.parametrize("name", EXPENSIVE)
def test_what_is_built_to_take_long_is_refused_at_once(name):
    picture = EXPENSIVE[name]()
    started = time.process_time()
    with pytest.raises(ImageError) as raised:
        load_pixels(picture, SPEC)
    assert raised.value.code == "too_large"
    # A bound on what is promised, not a timing: each of these takes 5 to 25 seconds where it is decoded.
    assert time.process_time() - started < 2


@pytest.mark.parametrize("options", [{"progressive": True}, {"progressive": True, "subsampling": 0}, {}])
def test_what_cameras_write_is_not(options):
    assert load_pixels(saved(gradient(3000, 2000), "JPEG", **options), SPEC).shape == (224, 224, 3)
    assert load_pixels(many_scans(20), SPEC).shape == (224, 224, 3)


@pytest.mark.parametrize("kind", ["EPS", "TGA", "PCX", "ICO", "PDF"])
def test_no_decoder_outside_the_list_is_reached(kind, tmp_path, monkeypatch):
    started = tmp_path / "started"
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {started}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = tmp_path / "flower.jpg"
    path.write_bytes(postscript() if kind == "EPS" else saved(gradient(), kind))
    for source in (path, path.read_bytes()):
        with pytest.raises(ImageError, match="not a picture in a format") as raised:
            load_pixels(source, SPEC)
        assert raised.value.code == "not_an_image"
    assert not started.exists()


MEASURE = """
import io, sys
import numpy as np
from PIL import Image, ImageChops
from flowercli.inference.preprocess import PreprocessSpec, load_pixels
spec = PreprocessSpec(224, 224, "bicubic", 0.875, (0, 0, 0), (1, 1, 1))
load_pixels(sys.argv[1], spec)
before = int(open("/proc/self/statm").read().split()[1]) * 4096
open("/proc/self/clear_refs", "w").write("5")
try:
    load_pixels(sys.argv[2], spec)
except Exception as error:
    print(error.code)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
print((peak - before) / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("grey16.png", lambda: Image.fromarray(np.full((9400, 9500), 30_000, np.uint16))),
        ("rgba.png", lambda: Image.new("RGBA", (6900, 6900), (255, 0, 0, 128))),
        ("float.tif", lambda: Image.new("F", (6500, 6500), 0.5)),
        ("progressive.jpg", lambda: Image.new("RGB", (9000, 9000), "red")),
        ("grey.webp", lambda: Image.new("RGB", (4900, 4900), "grey")),
    ],
)
def test_memory_of_a_picture_within_the_limits(name, make, tmp_path):
    small, large = tmp_path / "small.png", tmp_path / name
    gradient().save(small)
    options = {"progressive": True} if name.startswith("progressive") else {}
    make().save(large, **({"compress_level": 1} if name.endswith("png") else options))
    done = subprocess.run([sys.executable, "-c", MEASURE, small, large], capture_output=True, text=True, check=True)
    assert float(done.stdout) < LIMIT_MIB


@pytest.mark.parametrize(("gamut", "gamma"), [(DISPLAY_P3, 2.2), (PROPHOTO, 1.8)], ids=["Display P3", "ProPhoto"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_colour_profile_is_followed(gamut, gamma, kind):
    from PIL import ImageCms

    icc = profile(gamut, gamma, "wide")
    stored = Image.blend(gradient(640, 480), Image.new("RGB", (640, 480), "grey"), 0.5)
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    theirs, ours = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    meant = ImageCms.profileToProfile(stored, theirs, ours)
    read = load_pixels(saved(stored, kind, icc_profile=icc, **options), SPEC).astype(int)
    right = load_pixels(saved(meant, "PNG"), SPEC)
    assert np.abs(read - right).mean() < 1.5
    assert np.abs(load_pixels(saved(stored, "PNG"), SPEC).astype(int) - right).mean() > 4


@pytest.mark.parametrize("inverse", [True, False])
@pytest.mark.parametrize("marked", [True, False])
def test_ink_is_seen_as_ink(inverse, marked):
    photo = Image.open(SAMPLES / "rose.jpg").convert("RGB")
    # Pillow stores the inverse of what it is given.
    stored = photo.convert("CMYK") if inverse else ImageChops.invert(photo.convert("CMYK"))
    data = saved(stored, "JPEG", quality=95)
    place = data.index(b"\xff\xee")
    if not marked:
        data = data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]
    same = np.abs(load_pixels(data, SPEC).astype(int) - load_pixels(saved(photo, "PNG"), SPEC)).mean() < 8
    # What Adobe's marker says is believed.
    assert same == (inverse or not marked)


@pytest.mark.parametrize("icc", [b"nonsense", profile(DISPLAY_P3, 2.2, "wide")[:200], bytes(5 * 2**20)])
def test_a_bad_profile_is_ignored(icc):
    plain = load_pixels(saved(gradient(), "PNG"), SPEC)
    assert np.array_equal(load_pixels(saved(gradient(), "WEBP", lossless=True, icc_profile=icc), SPEC), plain)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_tiff_is_turned_once(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = gradient(400, 300)
    tiff, jpeg = (load_picture(saved(stored, kind, exif=exif), SPEC) for kind in ("TIFF", "JPEG"))
    assert np.abs(tiff.pixels.astype(int) - jpeg.pixels).mean() < 3
    assert tiff[1:] == jpeg[1:]


def test_greys_of_any_range_are_seen():
    grey = np.asarray(gradient().convert("L")).astype(np.float64)
    grey *= 255 / grey.max()
    expected = load_pixels(saved(Image.fromarray(grey.astype(np.uint8)), "PNG"), SPEC).astype(int)
    for values in (
        (grey / 255).astype(np.float32), (grey * 257).astype(np.float32), (grey * 100_000).astype(np.int32),
        (grey * 257).astype(np.uint16), np.where(grey == 0, np.nan, grey / 255).astype(np.float32),
    ):  # fmt: skip
        assert np.abs(load_pixels(saved(Image.fromarray(values), "TIFF"), SPEC) - expected).mean() < 2


def test_two_hundred_megapixels_of_a_telephone_are_read_without_a_word(recwarn):
    picture = saved(Image.new("L", (16_000, 12_400), 90), "JPEG", quality=30)
    assert load_picture(picture, SPEC)[1:] == (16_000, 12_400)
    assert not recwarn.list
