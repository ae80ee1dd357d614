"""Pixels: timm's geometry, upright, on white, and a clear code for whatever cannot be read."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from conftest import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flowercli.errors import BundleError, ImageError
from flowercli.inference.preprocess import PreprocessSpec, center_box, load_pixels, load_upright

SPEC = PreprocessSpec(224, 224, "bicubic", 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def picture(width=320, height=240, mode="RGB"):
    generator = np.random.default_rng(3)
    small = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (500, 333), (231, 499), (224, 224), (90, 60), (1500, 300)])
@pytest.mark.parametrize(
    ("side", "crop_pct", "interpolation"), [(224, 0.875, "bicubic"), (260, 0.9, "bilinear"), (96, 1.0, "bicubic")]
)
def test_pixels_are_those_of_timm(size, side, crop_pct, interpolation):
    timm_data = pytest.importorskip("timm.data")
    image = picture(*size)
    spec = PreprocessSpec(side, side, interpolation, crop_pct, (0.5,) * 3, (0.5,) * 3)
    transform = timm_data.create_transform(
        (3, side, side), interpolation=interpolation, crop_pct=crop_pct, normalize=False
    )
    expected = np.asarray(transform(image)).transpose(1, 2, 0).astype(int)
    pixels = load_pixels(encoded(image), spec)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (side, side, 3)
    assert np.abs(pixels - expected).mean() < 0.5


@given(st.integers(1, 4000), st.integers(1, 4000), st.floats(0.2, 1), st.integers(32, 512))
@settings(max_examples=300, deadline=None)
def test_box_stays_within_the_picture(width, height, crop_pct, side):
    left, top, right, bottom = center_box((width, height), (side, side), crop_pct)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured(orientation):
    upright = picture(400, 300)
    turns = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright if turns[orientation] is None else upright.transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = encoded(stored, exif=exif)
    difference = np.abs(load_pixels(turned, SPEC).astype(int) - load_pixels(encoded(upright), SPEC))
    assert difference.mean() < 1
    assert load_upright(turned, 100).size == (400, 300)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "1", "RGBA", "I;16", "F"])
def test_every_mode_becomes_rgb(mode):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture(mode="L")).astype(np.uint16) * 257)
    else:
        image = picture(mode="L").convert(mode) if mode in {"LA", "F"} else picture(mode=mode)
    data = encoded(image, "TIFF" if mode in {"CMYK", "F"} else "PNG")
    pixels = load_pixels(data, SPEC)
    assert pixels.shape == (224, 224, 3)
    assert pixels.std() > 20
    if mode in {"L", "I;16", "F"}:
        assert np.abs(pixels[..., 0].astype(int) - load_pixels(encoded(picture(mode="L")), SPEC)[..., 0]).mean() < 1


def test_transparent_is_white():
    hidden = Image.new("RGBA", (300, 300), (255, 0, 0, 0))
    assert (load_pixels(encoded(hidden), SPEC) == 255).all()


def test_large_jpeg_is_decoded_small_and_looks_the_same():
    large = encoded(picture(4000, 3000), "JPEG", quality=95)
    whole = load_pixels(encoded(Image.open(io.BytesIO(large))), SPEC).astype(int)
    assert load_upright(large, 256).size == (500, 375)
    assert np.abs(load_pixels(large, SPEC) - whole).mean() < 2


def huge_png():
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not_an_image"),
        (encoded(picture(), "JPEG")[:2000], "truncated"),
        (encoded(picture())[:5000], "truncated"),
        (huge_png(), "too_large"),
        (b"\xff\xd8\xff\xe0" + b"\x00" * 100, "not_an_image"),
    ],
)
def test_what_cannot_be_read_has_a_code(content, code, tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    for source in (content, path, str(path)):
        with pytest.raises(ImageError) as raised:
            load_pixels(source, SPEC)
        assert raised.value.code == code


def test_missing_and_special_files(tmp_path):
    for path, code in ((tmp_path / "none.jpg", "not_found"), ("/dev/zero", "not_a_file"), ("x" * 5000, "not_found")):
        with pytest.raises(ImageError) as raised:
            load_pixels(path, SPEC)
        assert raised.value.code == code


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_raise_nothing_else(data):
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]))
    content = bytearray(encoded(picture(64, 48), kind))
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert load_pixels(bytes(content), SPEC).shape == (224, 224, 3)
    except ImageError as error:
        assert error.message


@pytest.mark.parametrize(
    "change", [{"crop_mode": "squash"}, {"interpolation": "magic"}, {"crop_pct": 0}, {"mean": None}]
)
def test_unsupported_spec_is_refused(change):
    cfg = {
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    assert PreprocessSpec.from_pretrained_cfg(cfg) == SPEC
    with pytest.raises(BundleError):
        PreprocessSpec.from_pretrained_cfg(cfg | change)


def test_samples_are_large_enough():
    for path in SAMPLES.glob("*.jpg"):
        with Image.open(path) as image:
            assert min(image.size) >= 800
