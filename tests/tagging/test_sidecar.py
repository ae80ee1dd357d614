"""Which file is a picture's sidecar, as programs call it, and which is that of raw files beside it."""

from __future__ import annotations

import pytest

from flowercli.tagging.sidecar import Naming, Sidecars, lonely_raws

# Files that are there; the picture; its sidecars by digiKam's names, and by Lightroom's.
CASES = [
    ("rose.jpg", "rose.jpg", "rose.jpg.xmp", "rose.xmp"),
    ("IMG_1.HEIC", "IMG_1.HEIC", "IMG_1.HEIC.xmp", "IMG_1.xmp"),
    ("rose.jpg rose.jpg.xmp rose.xmp", "rose.jpg", "rose.jpg.xmp", "rose.jpg.xmp"),
    ("rose.jpg rose.xmp", "rose.jpg", "rose.xmp", "rose.xmp"),
    ("rose.jpg rose.XMP", "rose.jpg", "rose.XMP", "rose.XMP"),
    # One name for two pictures is nobody's.
    ("rose.jpg rose.png rose.xmp", "rose.jpg", "rose.jpg.xmp", "rose.jpg.xmp"),
    ("rose.jpg rose.png", "rose.png", "rose.png.xmp", "rose.png.xmp"),
    # Nor is that of a file of just this name.
    ("rose.jpg rose.jpg.png rose.jpg.xmp", "rose.jpg.png", "rose.jpg.png.xmp", "rose.jpg.png.xmp"),
    ("IMG_1.CR3 IMG_1.JPG", "IMG_1.JPG", "IMG_1.JPG.xmp IMG_1.CR3.xmp", "IMG_1.xmp"),
    ("IMG_1.CR3 IMG_1.JPG IMG_1.xmp", "IMG_1.JPG", "IMG_1.JPG.xmp IMG_1.xmp", "IMG_1.xmp"),
    ("IMG_1.NEF IMG_1.HEIC IMG_1.NEF.xmp", "IMG_1.HEIC", "IMG_1.HEIC.xmp IMG_1.NEF.xmp", "IMG_1.xmp IMG_1.NEF.xmp"),
    ("a.dng a.cr2 a.jpg a.xmp", "a.jpg", "a.jpg.xmp a.cr2.xmp a.dng.xmp", "a.jpg.xmp a.cr2.xmp a.dng.xmp"),
    ("a.cr2 a.jpg a.heic", "a.jpg", "a.jpg.xmp", "a.jpg.xmp"),
    ("a.CR3 b.jpg", "b.jpg", "b.jpg.xmp", "b.xmp"),
]


@pytest.mark.parametrize(("files", "picture", "digikam", "lightroom"), CASES)
def test_names_of_sidecars(tmp_path, files, picture, digikam, lightroom):
    for name in files.split():
        (tmp_path / name).touch()
    for naming, names in ((Naming.DIGIKAM, digikam), (Naming.LIGHTROOM, lightroom)):
        assert [path.name for path in Sidecars(naming).of(str(tmp_path / picture))] == names.split()


def test_a_picture_that_came_later_gets_nobody_elses(tmp_path):
    sidecars = Sidecars(Naming.DIGIKAM)

    def of(name):
        return [path.name for path in sidecars.of(str(tmp_path / name))]

    (tmp_path / "a.jpg").touch()
    assert of("a.jpg") == ["a.jpg.xmp"]
    for name in ("rose.jpg", "rose.xmp", "rose.png"):
        (tmp_path / name).touch()
    assert of("rose.png") == ["rose.png.xmp"]
    for name in ("a.png", "a.xmp"):
        (tmp_path / name).touch()
    assert of("a.png") == ["a.png.xmp"]
    for name in ("IMG_1.CR3", "IMG_1.JPG", "IMG_1.xmp"):
        (tmp_path / name).touch()
    assert of("IMG_1.JPG") == ["IMG_1.JPG.xmp", "IMG_1.xmp"]


def test_raw_files_that_no_picture_speaks_for(tmp_path):
    for name in ("a.CR3", "a.jpg", "b.NEF", "c.arw", "c.jpg", "c.png", ".d.CR3", "sub/e.dng", ".hidden/f.dng"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(lonely_raws(str(tmp_path))) == [str(tmp_path / name) for name in ("b.NEF", "c.arw", "sub/e.dng")]
    assert list(lonely_raws(str(tmp_path / "nowhere"))) == []
