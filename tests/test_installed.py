"""The index of what was downloaded: what is unfinished or being fetched, and how it is removed."""

from __future__ import annotations

import pytest
from transfers import visible

from flowercli import installed
from flowercli.errors import DataError
from flowercli.installed import Installed
from flowercli.locks import alone

pytestmark = pytest.mark.usefixtures("own_home")
KEY = "garden-0123abcd"


def entry(name):
    return Installed("dataset", name, "https://example.org/x.tgz", None, None, 1, "2026-11-24T00:00:00+00:00")


def test_removing_takes_what_is_unfinished_of_that_name_only():
    for name in (KEY, "garden-2-0123abcd", "gardens-0123abcd"):
        (installed.downloads() / name).mkdir(parents=True)
        (installed.downloads() / name / "part").write_bytes(b"12345")
    installed.folder_of("dataset", "garden").mkdir(parents=True)
    installed.record(entry("garden"))
    assert installed.unfinished() == 15
    assert installed.remove("garden") == ([entry("garden")], 5)
    assert visible(installed.downloads()) == ["garden-2-0123abcd", "gardens-0123abcd"]
    assert list(installed.folder_of("dataset", "").iterdir()) == []
    with pytest.raises(DataError, match="Nothing downloaded is called 'garden'"):
        installed.remove("garden")


def test_what_is_being_fetched_is_not_removed():
    (installed.downloads() / KEY).mkdir(parents=True)
    with alone(installed.downloads() / KEY), pytest.raises(DataError, match="is downloading garden now"):
        installed.remove("garden")
    assert (installed.downloads() / KEY).is_dir()
    assert installed.remove("garden") == ([], 0)


def test_a_folder_that_a_system_holds_stays_whole(monkeypatch):
    """Windows does not let go of what is open; here the refusal is made."""
    folder = installed.folder_of("dataset", "garden")
    folder.mkdir(parents=True)
    installed.record(entry("garden"))

    def refuse(self, _target):
        raise PermissionError(13, "in use", str(self))

    monkeypatch.setattr("pathlib.Path.rename", refuse)
    with pytest.raises(DataError, match="is in use, or may not be changed"):
        installed.remove("garden")
    assert folder.is_dir()
    assert installed.find("dataset", "garden") == entry("garden")
