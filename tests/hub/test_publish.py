"""Publishing a bundle to a Hub: what is sent, what is not, and who may."""

from __future__ import annotations

import json
import random
import shutil

import pytest
from conftest import SAMPLES
from support.hub import Fault, Hub, serving

from flowercli import bundle as bundles
from flowercli.bundle import Bundle
from flowercli.models import FOLDER

pytestmark = pytest.mark.network

ROSE = SAMPLES / "rose.jpg"
GOOD = {"HF_TOKEN": "hf_good"}


@pytest.fixture
def hub(tmp_path):
    """Serve an empty Hub on which ``hf_good`` may write what belongs to ``me``."""
    (tmp_path / "hub").mkdir()
    with serving(Hub(tmp_path / "hub", tokens={"hf_good": {"me"}})) as served:
        yield served


@pytest.fixture
def bundle(tmp_path):
    """Return a copy of the shipped model with weights that nobody runs here."""
    folder = shutil.copytree(FOLDER / "flowers5", tmp_path / "bundle")
    (tmp_path / "weights").write_bytes(random.Random(1).randbytes(200_000))
    return bundles.add_files(Bundle.load(folder), {"model.safetensors": tmp_path / "weights"})


def writes(hub):
    return [path for method, path, _ in hub.requests if method in ("POST", "PUT")]


def test_a_bundle_goes_there_and_comes_back(hub, program, bundle, tmp_path):
    done = program("publish", bundle.path, "me/five", "--message", "The first", **GOOD)
    assert (done.code, done.out) == (0, f"{hub.endpoint}/me/five\n"), done.err
    assert hub.messages == ["The first"]
    command = f"flowers download model me/five@{hub.head('me/five')}"
    assert f"Anyone gets it with: {command}" in done.err
    fetched = program(*command.split()[1:], "--all")
    assert fetched.code == 0, fetched.err
    back = Bundle.load(tmp_path / "data" / "models" / "me" / "five")
    for name in bundle.section["files"]:
        assert back.file(name).read_bytes() == bundle.file(name).read_bytes()
    assert program("classify", ROSE, "--model", "me/five").code == 0
    # What was downloaded can go on, and then says nothing of where it was.
    assert json.loads(program("publish", "me/five", "me/copy", "--private", "--json", **GOOD).out)["private"] is True
    assert hub.private == {"me/copy"}
    assert (hub.root / "me/copy/config.json").read_bytes() == (hub.root / "me/five/config.json").read_bytes()


def test_a_new_version_is_one_commit_and_stale_files_go_if_the_user_says_so(hub, program, bundle):
    assert program("publish", bundle.path, "me/five", **GOOD).code == 0
    (hub.root / "me/five/notes.txt").write_text("mine")
    refused = program("publish", "flowers5", "me/five", **GOOD)
    assert refused.code == 1
    assert "me/five has files that this bundle lacks: model.safetensors. Nothing was uploaded." in refused.err
    asked = json.loads(program("publish", "flowers5", "me/five", "--dry-run", "--json").out)
    assert (asked["removed"], asked["kept"]) == (
        ["model.safetensors"],
        [".gitattributes", "README.md", "notes.txt"],
    )
    assert program("publish", "flowers5", "me/five", "--message", "Without weights", "--prune", **GOOD).code == 0
    assert hub.messages == ["A flowers bundle", "Without weights"]
    names = {path.name for path in (hub.root / "me" / "five").iterdir()} - {"notes.txt"}
    ours = {"README.md", "config.json", "embeddings.npz", "model.int8.onnx", "reference.npz", "split.json"}
    assert names == {".gitattributes", *ours}
    assert (hub.root / "me/five/notes.txt").read_text() == "mine"


def test_what_a_download_left_out_stays_at_the_hub(hub, program, bundle, tmp_path):
    assert program("publish", bundle.path, "me/five", **GOOD).code == 0
    assert program("download", "model", "me/five").code == 0
    assert program("publish", "me/five", "me/five", **GOOD).code == 0
    weights = hub.root / "me/five/model.safetensors"
    assert weights.read_bytes() == (bundle.path / "model.safetensors").read_bytes()
    assert Bundle.load(hub.root / "me/five").file("model.safetensors") == weights
    assert program("download", "model", "me/five", "--all").code == 0
    # Of another version they do not belong to it, and do not go by themselves either.
    folder = tmp_path / "data/models/me/five"
    config = json.loads((folder / "config.json").read_text())
    config["flowers"]["files"].pop("model.safetensors")
    config["flowers"]["origin"]["left_out"] = {"model.safetensors": {"sha256": "0" * 64, "size": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    refused = program("publish", "me/five", "me/five", **GOOD)
    assert "files that this bundle lacks: model.safetensors" in refused.err
    assert weights.exists()


HEAD = "---\nlicense: cc-by-4.0  # agreed with them\n---\n# Ours\n"


def test_a_card_that_people_corrected_stays(hub, program, bundle, tmp_path):
    (bundle.path / "README.md").write_text(HEAD)
    assert program("publish", bundle.path, "me/five", **GOOD).code == 0
    card = hub.root / "me/five/README.md"
    assert card.read_text() == HEAD
    # Corrected at the Hub: it can be fetched, and the next version leaves it.
    card.write_text(HEAD + "More.\n")
    done = program("download", "model", "me/five")
    assert done.code == 0, done.err
    assert (tmp_path / "data/models/me/five/README.md").read_text() == HEAD + "More.\n"
    done = program("publish", "flowers5", "me/five", "--prune", **GOOD)
    assert card.read_text() == HEAD + "More.\n"
    assert "The README.md there stays as it is." in done.err
    assert "states the licence cc-by-4.0" in done.err


def test_a_licence_is_stated_by_whoever_may(hub, program, trained):
    done = program("publish", trained, "me/toy", **GOOD)
    assert "The card states no licence: whoever may give one does with --license ID." in done.err
    card = hub.root / "me/toy/README.md"
    assert "license" not in card.read_text()
    stated = json.loads(program("publish", trained, "me/toy", "--license", "apache-2.0", "--json", **GOOD).out)
    assert stated["license"] == "apache-2.0"
    assert "\nlicense: apache-2.0\n---\n" in card.read_text()
    assert json.loads(program("publish", trained, "me/toy", "--json", **GOOD).out)["license"] == "apache-2.0"
    # One that a repository begins with, as the Hub makes it.
    (hub.root / "me/new").mkdir()
    (hub.root / "me/new/README.md").write_text("---\nlicense: cc0-1.0\n---\n")
    assert json.loads(program("publish", trained, "me/new", "--json", **GOOD).out)["license"] == "cc0-1.0"
    assert "# " in (hub.root / "me/new/README.md").read_text()


def test_a_card_whose_head_is_no_yaml_is_told_before_anything_is_made(hub, program, bundle):
    (bundle.path / "README.md").write_text("---\nlicense: [\n---\n")
    for more in (("--dry-run",), ()):
        done = program("publish", bundle.path, "me/five", *more, **GOOD)
        assert done.code == 1
        assert "between its first two lines of three hyphens" in done.err
    assert hub.requests == []


def test_nothing_of_this_machine_is_sent(hub, program, trained, dataset):
    here = (trained / "config.json").read_text()
    assert str(dataset) in here
    done = program("publish", trained, "me/toy", **GOOD)
    assert done.code == 0, done.err
    for path in (hub.root / "me" / "toy").iterdir():
        content = path.read_bytes()
        assert str(dataset).encode() not in content
        assert str(trained.parent).encode() not in content
    sent = Bundle.load(hub.root / "me" / "toy")
    sent.verify()
    assert sent.section["provenance"]["config"]["epochs"] == 6


def test_dry_run_sends_nothing(hub, program, bundle):
    done = program("publish", bundle.path, "me/five", "--dry-run", "--json")
    assert done.code == 0, done.err
    listed = json.loads(done.out)
    assert listed["repo_id"] == "me/five"
    assert listed["files"]["model.safetensors"] == 200_000
    assert set(listed["files"]) == {"config.json", *bundle.section["files"]}
    shown = program("publish", bundle.path, "me/five", "--dry-run")
    assert "model.safetensors" in shown.out
    assert "Nothing was sent" in shown.err
    assert "There is no me/five yet" in shown.err
    assert writes(hub) == []
    assert program("publish", bundle.path, "me/five", "--dry-run", HF_HUB_OFFLINE="1").code == 0


@pytest.mark.parametrize(
    ("repo_id", "more", "words"),
    [
        ("me/five", {}, ("needs a token", "export HF_TOKEN")),
        ("me/five", {"HF_TOKEN": "hf_old"}, ("does not accept this token",)),
        ("you/five", GOOD, ("may not do that with you/five", "do not have the rights")),
        ("me/fi--ve", GOOD, ("no valid repo id",)),
        ("me/five", GOOD | {"HF_HUB_OFFLINE": "1"}, ("HF_HUB_OFFLINE is set",)),
        ("me/five", GOOD | {"HF_ENDPOINT": "http://127.0.0.1:9"}, ("refuses connections",)),
    ],
)
def test_who_may_not(hub, program, repo_id, more, words):
    done = program("publish", "flowers5", repo_id, **more)
    assert (done.code, done.out) == (1, ""), done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err
    assert [path.name for path in hub.root.iterdir()] == []


def test_what_is_there_is_not_overwritten(hub, program):
    (hub.root / "me" / "other").mkdir(parents=True)
    (hub.root / "me" / "other" / "pytorch_model.bin").write_bytes(b"something else")
    done = program("publish", "flowers5", "me/other", **GOOD)
    assert (done.code, done.out) == (1, "")
    assert "holds something else (pytorch_model.bin): nothing was uploaded" in done.err
    assert writes(hub) == ["/api/repos/create"]


def test_what_should_be_private_is_not_made_public(hub, program):
    assert program("publish", "flowers5", "me/five", **GOOD).code == 0
    hub.requests.clear()
    done = program("publish", "flowers5", "me/five", "--private", **GOOD)
    assert done.code == 1
    assert "exists and is public: nothing was uploaded" in done.err
    assert writes(hub) == ["/api/repos/create"]


def test_a_damaged_bundle_stays_here(hub, program, bundle):
    weights = bundle.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = program("publish", bundle.path, "me/five", **GOOD)
    assert (done.code, done.out) == (1, "")
    assert "is not the file the bundle lists" in done.err
    lone = program("publish", bundle.path / "model.int8.onnx", "me/five", **GOOD)
    assert lone.code == 1
    assert "lone .onnx" in lone.err
    assert hub.requests == []


def test_a_hub_that_fails_half_way_leaves_no_version(hub, program):
    hub.faults = [Fault("/commit/main", status=500)]
    done = program("publish", "flowers5", "me/five", **GOOD)
    assert (done.code, done.out) == (1, "")
    assert "out of order (HTTP 500)" in done.err
    assert [path.name for path in (hub.root / "me" / "five").iterdir()] == [".gitattributes"]
    assert program("publish", "flowers5", "me/five", **GOOD).code == 0
