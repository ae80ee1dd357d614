"""One file, whole whatever happens to its connection: cut anywhere, changed, without ranges or validators."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
from support.archive_server import Answer
from support.transfers import LENGTH, Listener, patient, visible

from flowercli.errors import DownloadError
from flowercli.transfer.contract import Wanted
from flowercli.transfer.fetch import fetch

pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.network]


def test_what_may_pass_is_tried_again(bare, content, tmp_path):
    bare.plan = [Answer(status=status) for status in (500, 502, 503, 504, 429, 408)]
    listener = Listener()
    fetched = fetch(Wanted(bare.url("/file")), tmp_path / "file", listener, patience=patient(6))
    assert (tmp_path / "file").read_bytes() == content
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    assert len(listener.retries) == 6


def test_cut_at_random_bytes(bare, content, tmp_path):
    generator = random.Random(1)
    for number in range(10):
        bare.sent = 0
        bare.plan = [Answer(cut_after=generator.randrange(-1, LENGTH // 5)) for _ in range(5)]
        target = tmp_path / f"file{number}"
        fetch(Wanted(bare.url("/file")), target, Listener(), patience=patient())
        assert target.read_bytes() == content
        assert bare.sent == LENGTH, "bytes were fetched twice"
    assert visible(tmp_path) == sorted(f"file{number}" for number in range(10))


def test_cut_at_every_stage(bare, content, tmp_path):
    """Before the answer, before its body, after one byte, before the last; closed and reset."""
    cuts = (-1, 0, 1, LENGTH - 3)
    bare.plan = [Answer(cut_after=cut, reset=reset) for cut in cuts for reset in (False, True)]
    fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient(8))
    assert (tmp_path / "file").read_bytes() == content


def test_a_connection_that_is_always_cut_at_the_same_place_ends(bare, tmp_path):
    bare.usual = Answer(cut_after=1000, ignore_range=True)
    with pytest.raises(DownloadError, match="cut after 1000 of 1234567 bytes"):
        fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient())
    assert not (tmp_path / "file").exists()


def test_a_server_without_ranges(bare, content, tmp_path):
    bare.plan = [Answer(cut_after=1000)]
    bare.usual = Answer(ignore_range=True)
    fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient())
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize("ignore_if_range", [False, True])
def test_a_file_that_changed_meanwhile_starts_again(bare, tmp_path, ignore_if_range):
    """Also where the server minds no ``If-Range`` and sends the rest of another file."""
    bare.plan = [Answer(cut_after=LENGTH // 2)]
    target = tmp_path / "file"
    with pytest.raises(DownloadError, match="cut"):
        fetch(Wanted(bare.url("/file")), target, Listener(), patience=patient(0))
    changed = random.Random(5).randbytes(LENGTH)
    bare.files["/file"] = changed
    bare.usual = Answer(ignore_if_range=ignore_if_range)
    fetch(Wanted(bare.url("/file")), target, Listener(), patience=patient(0))
    assert target.read_bytes() == changed


def test_pieces_that_do_not_fit_together_are_thrown_away(bare, content, tmp_path):
    """No ETag, no date: only the sha256 tells."""
    target = tmp_path / "file"
    wanted = Wanted(bare.url("/file"), sha256=hashlib.sha256(content).hexdigest())
    bare.files["/file"] = bytes(LENGTH)
    bare.plan = [Answer(cut_after=LENGTH // 2, with_validator=False)]
    bare.usual = Answer(with_validator=False)
    with pytest.raises(DownloadError, match="cut"):
        fetch(wanted, target, Listener(), patience=patient(0))
    bare.files["/file"] = content
    fetch(wanted, target, Listener(), patience=patient(0))
    assert target.read_bytes() == content


def test_without_anything_to_tell_a_change_it_starts_again(bare, content, tmp_path):
    bare.plan = [Answer(cut_after=1000, with_validator=False)]
    bare.usual = Answer(with_validator=False)
    fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient())
    assert (tmp_path / "file").read_bytes() == content
    assert [asked for _, asked in bare.requests] == [None, None]


def test_killed_between_the_last_byte_and_the_name(bare, content, tmp_path):
    (tmp_path / ".partial-file").write_bytes(content)
    (tmp_path / ".partial-file.json").write_text(json.dumps({"validator": f'"{bare.etag(content)}"'}))
    fetched = fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient(0))
    assert (tmp_path / "file").read_bytes() == content
    assert fetched.received == 0


def test_a_length_that_is_not_true(bare, tmp_path):
    bare.usual = Answer(longer=7)
    with pytest.raises(DownloadError, match=f"cut after {LENGTH} of {LENGTH + 7}"):
        fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient(0))
    assert visible(tmp_path) == []


def test_a_length_that_is_not_told(bare, content, tmp_path):
    bare.usual = Answer(with_length=False)
    fetch(Wanted(bare.url("/file")), tmp_path / "file", Listener(), patience=patient(0))
    assert (tmp_path / "file").read_bytes() == content
