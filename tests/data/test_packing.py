"""The one archive of a dataset: always the same bytes, and nothing in it that would be refused where it arrives."""

from __future__ import annotations

import os
import tarfile

import pytest
from conftest import write_dataset

from flowercli.data.archive import extract
from flowercli.data.packing import pack, packed_md5
from flowercli.errors import ArchiveError, DataError


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dataset_always_packs_to_the_same_bytes(tmp_path):
    first, second = write_dataset(tmp_path / "Gänse blümchen", photos=2), tmp_path / "second"
    for path in sorted(first.rglob("*"), reverse=True):
        target = second / path.relative_to(first)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            target.chmod(0o600)
            os.utime(target, (1, 1))
    (second / "__MACOSX").mkdir()
    (second / "__MACOSX" / "._1.jpg").write_bytes(b"left out")
    (second / ".DS_Store").write_bytes(b"hidden")
    pack(first, tmp_path / "1.tar")
    pack(second, tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    assert packed_md5(first) == packed_md5(second)
    (unpacked := tmp_path / "unpacked").mkdir()
    extract(tmp_path / "1.tar", unpacked)
    assert tree(unpacked) == tree(first)


@pytest.mark.parametrize("kind", ["link", "above", "device", "cut"])
def test_archive_that_packing_never_made_is_refused(tmp_path, kind):
    archive, target = tmp_path / "bad.tar", tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("../escaped" if kind == "above" else "thing")
        member.type = {"link": tarfile.SYMTYPE, "device": tarfile.CHRTYPE}.get(kind, tarfile.REGTYPE)
        member.linkname = "/etc/passwd"
        tar.addfile(member)
    if kind == "cut":
        archive.write_bytes(archive.read_bytes()[:300])
    with pytest.raises(ArchiveError):
        extract(archive, target)
    assert list(target.iterdir()) == []
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize(
    ("names", "why"),
    [(("rose/a.jpg", "rose/A.jpg"), "only in case"), (("rose/a\\b.jpg",), "backslash"), (("rose/a\n.jpg",), "control")],
)
def test_what_could_not_be_unpacked_everywhere_is_not_packed(tmp_path, names, why):
    folder = tmp_path / "flowers"
    (folder / "rose").mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    if len({path.name.casefold() for path in (folder / "rose").iterdir()}) != 1:
        pytest.skip("a file system that does not tell upper from lower case")
    with pytest.raises(DataError, match=why) as caught:
        pack(folder, tmp_path / "flowers.tar")
    assert caught.value.hint.startswith("Rename it")
    assert not list(tmp_path.glob("*.tar"))
