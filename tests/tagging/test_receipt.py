"""What sidecars were is kept first, reaches nothing else, and is given back byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import resource
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from support.kills import make_library, round_of
from support.sidecars import contents

from flowercli.errors import DataError, TaggingError
from flowercli.tagging.receipt import Receipt, undo

HASH = hashlib.sha256(b"new").hexdigest()


@pytest.fixture
def receipt(tmp_path):
    return Receipt(tmp_path)


def write(receipt, sidecar, before, after):
    """Do what a run does: keep first, write then."""
    receipt.note(sidecar, before, after)
    sidecar.write_bytes(after)


def test_bytes_come_back_and_the_receipt_goes(receipt, tmp_path):
    old, new = tmp_path / "old.jpg.xmp", tmp_path / "new.jpg.xmp"
    old.write_bytes(b"\xff any bytes \0")
    old.chmod(0o640)
    before = contents(tmp_path)
    write(receipt, old, old.read_bytes(), b"first")
    write(receipt, new, None, b"new")
    write(receipt, old, b"first", b"second")
    assert undo(receipt.file) == (2, [])
    assert contents(tmp_path) == before
    assert old.stat().st_mode & 0o777 == 0o640


def test_what_somebody_changed_stays_and_so_does_the_receipt(receipt, tmp_path):
    names = ("changed", "gone", "twice", "link", "folder", "fine")
    sidecars = {name: tmp_path / f"{name}.xmp" for name in names}
    for sidecar in sidecars.values():
        sidecar.write_bytes(b"old")
        write(receipt, sidecar, b"old", b"new")
    write(receipt, sidecars["twice"], b"new", b"newer")
    sidecars["changed"].write_bytes(b"mine")
    sidecars["twice"].write_bytes(b"mine too")
    for name in ("gone", "link", "folder"):
        sidecars[name].unlink()
    (tmp_path / "elsewhere").write_bytes(b"new")
    sidecars["link"].symlink_to(tmp_path / "elsewhere")
    sidecars["folder"].mkdir()
    done = undo(receipt.file)
    assert done.files == 1
    assert {path.rpartition("/")[2]: why for path, why in done.left} == {
        "changed.xmp": "it was changed since",
        "twice.xmp": "it was changed since",
        "gone.xmp": "it is not there any more",
        "link.xmp": "it is a link",
        "folder.xmp": "it is not a plain file",
    }
    assert (sidecars["changed"].read_bytes(), (tmp_path / "elsewhere").read_bytes()) == (b"mine", b"new")
    assert sidecars["fine"].read_bytes() == b"old"
    sidecars["changed"].write_bytes(b"new")
    assert undo(receipt.file).files == 1
    assert receipt.file.exists()


def test_undoing_can_be_ended_anywhere_and_go_on(receipt, tmp_path):
    sidecar = tmp_path / "a.xmp"
    states = [None, b"one", b"two", b"three"]
    for before, after in pairwise(states):
        write(receipt, sidecar, before, after)
    kept = receipt.file.read_bytes()
    for state in reversed(states):
        sidecar.unlink(missing_ok=True)
        if state is not None:
            sidecar.write_bytes(state)
        receipt.file.write_bytes(kept)
        assert undo(receipt.file) == (int(state is not None), [])
        assert not sidecar.exists()


def test_a_line_that_was_being_written_is_of_a_sidecar_that_was_not(receipt, tmp_path):
    sidecar = tmp_path / "a.xmp"
    write(receipt, sidecar, None, b"new")
    whole = receipt.file.read_bytes()
    receipt.note(tmp_path / "b.xmp", None, b"new")
    both = receipt.file.read_bytes()
    for end in range(len(whole), len(both)):
        sidecar.write_bytes(b"new")
        receipt.file.write_bytes(both[:end])
        assert undo(receipt.file) == (1, [])


def test_a_receipt_that_was_put_elsewhere_stays_and_one_that_moved_with_its_folder_works(tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    receipt = Receipt(library)
    write(receipt, library / "a.xmp", None, b"new")
    elsewhere = shutil.copy(receipt.file, tmp_path)
    with pytest.raises(DataError, match=r"it was written in .*library"):
        undo(Path(elsewhere))
    moved = library.rename(tmp_path / "moved")
    assert undo(moved / receipt.file.name) == (1, [])
    assert list(moved.iterdir()) == []


def test_a_receipt_reaches_nothing_but_sidecars_below_its_folder(tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    (tmp_path / "outside").mkdir()
    for place in (tmp_path / "outside" / "a.xmp", library / "a.jpg", library / "a.xmp"):
        place.write_bytes(b"new")
    (library / "link").symlink_to(tmp_path / "outside")
    row = {"did": "tagged", "in": "/", "file": "a.xmp", "before": base64.b64encode(b"evil").decode(), "sha256": HASH}
    listed = library / "undo-1.jsonl"
    names = [
        "../outside/a.xmp",
        str(tmp_path / "outside" / "a.xmp"),
        "link/a.xmp",
        "a.jpg",
        "",
        "a/../../outside/a.xmp",
    ]
    wrong = [row | {"file": name} for name in names]
    wrong += [
        row | {"did": "moved"},
        row | {"before": "?"},
        row | {"sha256": "x"},
        row | {"before": 1},
        {"did": "tagged"},
    ]
    for each in wrong:
        # The first line is fine: nothing of it is done either.
        listed.write_text(json.dumps(row) + "\n" + json.dumps(each) + "\n")
        with pytest.raises(DataError, match="line 2"):
            undo(listed)
    assert {path.read_bytes() for path in tmp_path.rglob("a.*")} == {b"new"}


def test_what_cannot_be_kept_is_said_and_leaves_whole_lines(receipt, tmp_path):
    write(receipt, tmp_path / "a.xmp", None, b"new")
    whole = receipt.file.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, before[1]))
    try:
        with pytest.raises(TaggingError, match="File too large"):
            receipt.note(tmp_path / "b.xmp", None, b"new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert receipt.file.read_bytes() == whole


def test_killed_at_any_moment_nothing_is_lost(tmp_path):
    library = make_library(tmp_path / "library", 4)
    assert "tag" in list(round_of(library, contents(library), random.Random(7)))
