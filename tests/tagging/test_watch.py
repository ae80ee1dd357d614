"""Pictures that come into a folder, each when it is whole."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from flowercli.tagging.watch import watched


def test_pictures_count_when_they_have_stopped_growing(tmp_path):
    def write(name, content, time):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (time, time))

    # What happens after each look.
    steps = [
        lambda: write("grows.jpg", b"12", 100),
        lambda: None,
        (tmp_path / "early.jpg").unlink,
        lambda: write("early.jpg", b"anew", 200),
        lambda: None,
        lambda: write("notes.txt", b"no picture", 100),
        lambda: write("late.jpg", b"1", 100),
        lambda: write("early.jpg", b"and again", 300),
    ]
    write("early.jpg", b"1", 50)
    write("grows.jpg", b"1", 50)
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "none")
    looks = []

    def wait(_seconds):
        steps[len(looks)]() if len(looks) < len(steps) else None
        looks.append(None)

    come = [(Path(path).name, len(looks)) for path in islice(watched(str(tmp_path), wait), 5)]
    assert come == [("early.jpg", 1), ("grows.jpg", 2), ("early.jpg", 5), ("late.jpg", 8), ("early.jpg", 9)]
