"""The page's own arithmetic, under Node: the pixels are Pillow's, the rules those of ``inference``."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT, SAMPLES
from PIL import Image
from support.garden import picture, write_garden

from flowercli.bundle import Bundle
from flowercli.inference.classifier import Classifier
from flowercli.inference.preprocess import RESAMPLING, PreprocessSpec, center_box, load_pixels
from flowercli.models import load_model
from flowercli.serving.page.files import SITE

SIZES = [(320, 240), (240, 320), (500, 333), (231, 499), (224, 224), (90, 60), (61, 17), (1, 5), (700, 150)]
SPECS = [(224, 224, 0.875), (260, 260, 0.9), (96, 96, 1.0), (130, 224, 0.95)]


@pytest.fixture(scope="module")
def javascript(tmp_path_factory):
    """Return what calls functions of the page: each call a module, a name and the arguments."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    site = tmp_path_factory.mktemp("modules")
    for path in SITE.glob("*.js"):
        shutil.copy(path, site)
    (site / "package.json").write_text('{"type": "module"}')

    def call(*calls):
        done = subprocess.run(
            [node, ROOT / "tests" / "support" / "page_modules.mjs", site], input=json.dumps(calls, default=_encode),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def _encode(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def noise(width, height, seed=0):
    """Return the hardest of pictures: black and white at random, so that every rounding shows."""
    return (np.random.default_rng(seed).integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)


def rgba(pixels):
    """Return pixels as a canvas gives them."""
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    return {"data": opaque.tobytes(), "width": pixels.shape[1], "height": pixels.shape[0]}


def decoded(result, *shape):
    return np.frombuffer(base64.b64decode(result["base64"]), np.uint8).reshape(shape)


@pytest.mark.parametrize("interpolation", RESAMPLING)
def test_pixels_are_exactly_those_of_pillow(javascript, interpolation):
    cases = [(size, SPECS[(place + step) % len(SPECS)]) for place, size in enumerate(SIZES) for step in (0, 1)]
    calls, expected = [], []
    for seed, ((width, height), (rows, columns, crop_pct)) in enumerate(cases):
        pixels = noise(width, height, seed)
        spec = {"height": rows, "width": columns, "interpolation": interpolation, "cropShare": crop_pct}
        calls.append(("preprocess", "cropAndResize", (rgba(pixels), spec)))
        left, top, right, bottom = center_box((width, height), (rows, columns), crop_pct)
        # Columns first, then rows: Pillow 13 takes the rows of some tall pictures first, which rounds differently.
        method, image = RESAMPLING[interpolation], Image.fromarray(pixels)
        narrow = image.resize((columns, height), method, box=(left, 0, right, height))
        expected.append(np.asarray(narrow.resize((columns, rows), method, box=(0, top, columns, bottom))))
    for case, result, pixels in zip(cases, javascript(*calls), expected, strict=True):
        assert np.array_equal(decoded(result, *pixels.shape), pixels), case


def test_jpegs_are_decoded_at_the_scale_that_pillow_chooses(javascript):
    spec = {"height": 224, "width": 224, "interpolation": "bicubic", "cropShare": 0.875}
    sizes = [(320, 240), (511, 512), (512, 512), (1024, 768), (4000, 3000), (6000, 600), (2047, 2049), (9000, 2048)]
    found = javascript(*[("preprocess", "jpegScale", (*size, spec)) for size in sizes])
    for (width, height), scale in zip(sizes, found, strict=True):
        file = io.BytesIO()
        Image.new("L", (width, height)).save(file, "JPEG")
        image = Image.open(file)
        share = 256 / min(width, height)
        image.draft("L", (-int(-width * share // 1), -int(-height * share // 1)))
        assert image.size == (-(-width // scale), -(-height // scale)), (width, height)


@pytest.mark.parametrize("by", [1, 2, 4, 8])
def test_shrinking_gives_the_means_of_blocks(javascript, by):
    pixels = noise(50, 37)
    (result,) = javascript(("shrink", "shrink", (rgba(pixels), by)))
    rows, columns = -(-37 // by), -(-50 // by)
    expected = np.asarray(Image.fromarray(pixels).reduce(by)).astype(int)
    assert np.abs(decoded(result, rows, columns, 4)[..., :3] - expected).max() <= 1


@pytest.fixture(scope="module", params=["flowers5", "garden"])
def classifier(request, tmp_path_factory):
    """Return a model with, and one without scientific names and an output that says how sure it is."""
    if request.param == "flowers5":
        return Classifier.open(load_model("flowers5"), "cpu")
    return Classifier.open(Bundle.load(write_garden(tmp_path_factory.mktemp("model") / "garden.onnx")), "cpu")


def outputs_of(classifier):
    """Return what the graph says of pictures that it knows, is unsure of, and does not know."""
    photos = [load_pixels(path, classifier.spec) for path in sorted(SAMPLES.glob("*.jpg"))]
    told = [picture(name, known) for name in ("iris", "rose", "wild_flower") for known in (0.95, 0.6, 0.1)]
    inverted = [255 - photo for photo in photos]
    outputs = classifier.run(np.stack([*photos, *inverted, *[load_pixels(one, classifier.spec) for one in told]]))
    return outputs.probabilities, outputs.known


def asked_in_javascript(javascript, classifier, probabilities, known, only=None):
    """Return the answers that the page gives, as Python has them."""
    rules = {"call": ("answer", "readRules", (classifier.bundle.config,))}
    rows = zip(probabilities.tolist(), known.tolist(), strict=True)
    calls = [("answer", "answer", ({"probabilities": row, "known": sure}, rules, only)) for row, sure in rows]
    found = javascript(*calls)
    shares = [answer.pop("shares") for answer in found]
    for every, answer in zip(shares, found, strict=True):
        assert list(every) == [name for name in classifier.bundle.class_names if only is None or name in only]
        answer["all_predictions"] = dict(answer["all_predictions"])
        assert answer["all_predictions"].items() <= every.items()
    return found


def test_answers_and_rejections_are_those_of_inference(javascript, classifier):
    probabilities, known = outputs_of(classifier)
    expected = [classifier.prediction(*row).as_dict() for row in zip(probabilities, known, strict=True)]
    assert {answer["rejected"] for answer in expected} == {True, False}
    found = asked_in_javascript(javascript, classifier, probabilities, known)
    assert found == expected
    assert [list(answer) for answer in found] == [list(answer) for answer in expected]


def test_answers_among_some_classes_are_those_of_inference(javascript, classifier):
    probabilities, known = outputs_of(classifier)
    only = ["tulip", "rose", "daisy"]
    restricted = classifier.answering_only(only)
    expected = [restricted.prediction(*row).as_dict() for row in zip(probabilities, known, strict=True)]
    assert {answer["rejected"] for answer in expected} == {True, False}
    assert asked_in_javascript(javascript, classifier, probabilities, known, only) == expected


def test_where_nothing_is_left_the_classes_are_even(javascript, classifier):
    names = classifier.bundle.class_names
    probabilities = np.eye(1, len(names), dtype=np.float32)
    (found,) = asked_in_javascript(javascript, classifier, probabilities, np.ones(1), names[1:3])
    assert found == classifier.answering_only(names[1:3]).prediction(probabilities[0], 1.0).as_dict()
    assert (found["known"], found["reason"]) == (0, "not_a_known_flower")
    assert found["all_predictions"] == {names[1]: 0.5, names[2]: 0.5}


def test_specs_that_are_not_supported_are_refused(javascript):
    cfg = load_model("flowers5").pretrained_cfg
    spec = PreprocessSpec.from_pretrained_cfg(cfg)
    (found,) = javascript(("preprocess", "readSpec", (cfg,)))
    assert found == {"height": spec.height, "width": spec.width, "interpolation": "bicubic", "cropShare": 0.882}
    with pytest.raises(AssertionError, match="not supported"):
        javascript(("preprocess", "readSpec", ({**cfg, "crop_mode": "border"},)))


def test_files_are_told_by_their_bytes(javascript, tmp_path):
    rose = Image.open(SAMPLES / "rose.jpg")
    files = {}
    for kind in ("jpeg", "png", "gif", "webp", "bmp", "tiff", "avif"):
        path = tmp_path / f"rose.{kind}"
        rose.save(path)
        files[kind] = path.read_bytes()
    progressive, thumbnail = io.BytesIO(), io.BytesIO()
    rose.save(progressive, "JPEG", progressive=True)
    # A thumbnail in the head has an end of its own.
    rose.resize((64, 48)).save(thumbnail, "JPEG")
    rose.save(tmp_path / "thumbnail.jpg", exif=b"Exif\0\0" + thumbnail.getvalue())
    jpegs = [progressive.getvalue(), (tmp_path / "thumbnail.jpg").read_bytes()]
    whole = javascript(*[("formats", "identify", (content,)) for content in (*files.values(), *jpegs)])
    assert [found["kind"] for found in whole] == [*files, "jpeg", "jpeg"]
    assert all(found["complete"] for found in whole)
    sized = [found for found in whole if "width" in found]
    assert len(sized) >= 6
    assert {(found["width"], found["height"]) for found in sized} == {rose.size}
    cut = [files[kind][:-200] for kind in ("jpeg", "png", "webp", "bmp")] + [content[:-200] for content in jpegs]
    cut += [content[:12] for content in cut[:2]]
    assert not any(found["complete"] for found in javascript(*[("formats", "identify", (content,)) for content in cut]))
    others = [b"Buy bulbs\n", b"%PDF-1.7", b"<svg/>", b"\0" * 64, b"\xff", b"P"]
    assert javascript(*[("formats", "identify", (content,)) for content in others]) == [None] * len(others)
