"""What the base install downloads: one dataset and one model, on the lowest versions too. All else is in `network`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.published import NAME, ROSE
from support.transfers import CLASSES, PATH, visible


@pytest.mark.usefixtures("own_home")
def test_a_dataset(run, server, sha256):
    done = run("download", "dataset", server.url(PATH), "--sha256", sha256)
    assert done.code == 0, done.err
    assert visible(done.out.strip()) == CLASSES
    assert run("split", "colours").code == 0


def test_a_model(program, tmp_path):
    # As a process of its own: there the client reads its settings as it does for everybody.
    done = program("download", "model", NAME, HF_HUB_DOWNLOAD_TIMEOUT="5")
    assert (done.code, done.out) == (0, f"{tmp_path / 'data' / 'models' / NAME}\n"), done.err
    answer = program("classify", ROSE, "--model", NAME, "--json", HF_HUB_OFFLINE="1")
    assert json.loads(answer.out)["predicted_class"] == "rose"
    assert Path(done.out.strip(), "split.json").is_file()
