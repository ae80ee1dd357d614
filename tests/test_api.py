"""``from flowercli import Classifier``: what Python programs use, and what its page says of it."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, SAMPLES
from PIL import Image

import flowercli
from flowercli import Classifier
from flowercli.errors import ImageError
from flowercli.models import load_model

ROSE = SAMPLES / "rose.jpg"
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def classifier():
    return Classifier.open("garden")


def test_paths_bytes_and_images_are_answered(classifier):
    answer = classifier.classify(ROSE)
    assert (answer.predicted_class, answer.rejected) == ("rose", False)
    assert classifier.classify(str(ROSE)) == classifier.classify(ROSE.read_bytes()) == answer
    with Image.open(ROSE) as image:
        before = (image.size, image.mode)
        of_image = classifier.classify(image)
        assert (image.size, image.mode) == before
    assert of_image.predicted_class == "rose"
    assert of_image.confidence == pytest.approx(answer.confidence, abs=0.01)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_images_are_turned_upright(classifier, orientation, tmp_path):
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    with Image.open(ROSE) as image:
        stored = image.transpose(turned[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        assert classifier.classify(image) == classifier.classify(tmp_path / "turned.png")
    assert classifier.classify(stored).confidence != classifier.classify(tmp_path / "turned.png").confidence


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "F", "1", "LA"])
def test_images_of_any_mode_are_taken(classifier, mode):
    if mode in ("I;16", "F"):
        values = np.linspace(0, 1, 200 * 300).reshape(200, 300)
        image = Image.fromarray((values * 65535).astype(np.uint16) if mode == "I;16" else values.astype(np.float32))
    else:
        with Image.open(ROSE) as rose:
            image = rose.convert(mode)
    assert 0 <= classifier.classify(image).confidence <= 1


def test_what_is_no_picture_has_its_code(classifier, tmp_path):
    (tmp_path / "notes.jpg").write_bytes(b"hello")
    for source, code in ((tmp_path / "notes.jpg", "not_an_image"), (b"", "empty"), ("nowhere.jpg", "not_found")):
        with pytest.raises(ImageError) as raised:
            classifier.classify(source)
        assert raised.value.code == code
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(ROSE.read_bytes()[:5000])
    with pytest.raises(ImageError, match="no pixels"):
        classifier.classify(Image.new("RGB", (0, 10)))
    with Image.open(broken) as image, pytest.raises(ImageError):
        classifier.classify(image)


def test_models_by_name_path_and_bundle(classifier):
    bundle = load_model("flowers5")
    for model in ("flowers5", bundle.path, str(bundle.path), bundle):
        assert Classifier.open(model).answerable == bundle.class_names
    assert Classifier.open().bundle.name == classifier.bundle.name
    assert isinstance(classifier.answering_only(["rose"]), Classifier)


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_what_the_pages_say_runs_without_torch(page):
    code = PYTHON.search((ROOT / page).read_text())[1]
    script = f"{code}\nimport sys; assert 'torch' not in sys.modules and 'rich' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=SAMPLES, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rose 0.9")


def test_nothing_else_is_made_up():
    with pytest.raises(AttributeError, match="no attribute 'Gardener'"):
        _ = flowercli.Gardener
