"""What the page makes of real files in Chromium: the pixels that ``preprocess`` makes of them."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image
from support.browser import chromium, export_site, host, visit

from flowercli.inference.preprocess import PreprocessSpec, load_pixels
from flowercli.models import load_model

CFG = load_model("flowers5").pretrained_cfg
SPEC = PreprocessSpec.from_pretrained_cfg(CFG)
PIXELS = """async ([data, cfg]) => {
  const [{ inspect }, { decode }, { cropAndResize, readSpec }] = await Promise.all(
    ['inspect', 'decode', 'preprocess'].map((name) => import(`./${name}.js`)),
  );
  const spec = readSpec(cfg);
  const file = new File([Uint8Array.from(atob(data), (character) => character.charCodeAt(0))], 'picture');
  const pixels = cropAndResize(await decode(file, await inspect(file), spec), spec);
  return btoa(pixels.reduce((text, value) => text + String.fromCharCode(value), ''));
}"""


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """Return what gives the pixels that the page makes of the bytes of a file, ``[height, width, 3]``."""
    with (
        chromium() as browser,
        host(export_site(tmp_path_factory.mktemp("host") / "site")) as url,
        visit(browser) as visitor,
    ):
        visitor.page.goto(url)

        def ask(content):
            found = visitor.page.evaluate(PIXELS, [base64.b64encode(content).decode(), CFG])
            return np.frombuffer(base64.b64decode(found), np.uint8).reshape(SPEC.height, SPEC.width, 3).astype(int)

        yield ask


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rose(width=400, height=300):
    return Image.open(SAMPLES / "rose.jpg").convert("RGB").resize((width, height), Image.Resampling.BICUBIC)


def difference(pixels, content):
    return np.abs(pixels(content) - load_pixels(content, SPEC).astype(int))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("BMP", "RGB"), ("GIF", "P"), ("WEBP", "RGB")],
)
def test_pictures_without_loss_are_equal(pixels, kind, mode):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert difference(pixels, encoded(rose().convert(mode), kind, **options)).max() == 0


def test_jpegs_are_equal_to_within_a_level(pixels):
    assert difference(pixels, encoded(rose(), "JPEG", quality=90)).max() <= 1
    assert difference(pixels, encoded(rose(), "JPEG", quality=90, progressive=True)).max() <= 1


@pytest.mark.parametrize(
    ("kind", "orientation"),
    [("JPEG", 3), ("JPEG", 6), ("PNG", 2), ("PNG", 8), *(("WEBP", orientation) for orientation in range(1, 9))],
)
def test_pictures_are_upright(pixels, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    # Turned sideways, Pillow resamples rows first: its rounding in between differs.
    assert difference(pixels, encoded(rose(300, 400), kind, exif=exif, **options)).mean() < 0.5


def test_transparency_is_white(pixels):
    image = rose().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    assert difference(pixels, encoded(image, "PNG")).max() <= 2
    palette = rose().quantize(16)
    assert difference(pixels, encoded(palette, "PNG", transparency=3)).max() <= 2


def test_large_jpegs_come_close(pixels):
    for size in ((1024, 768), (2400, 1601), (4000, 3000)):
        assert difference(pixels, encoded(rose(*size), "JPEG", quality=92)).mean() < 1


def test_sixteen_bits_are_scaled(pixels):
    values = np.linspace(0, 65535, 300 * 400).reshape(300, 400).astype(np.uint16)
    assert difference(pixels, encoded(Image.fromarray(values), "PNG")).max() <= 2
