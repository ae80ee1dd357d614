"""What is behind ``flowers teach``: the graph that is edited, the arithmetic, and files of strangers."""

from __future__ import annotations

import io
import shutil

import numpy as np
import onnxruntime as ort
import pytest
from support.taught import teachable, write_new

from flowercli.bundle import EMBEDDINGS, ONNX_INT8, Bundle, add_files, embeddable_config, without_local_paths
from flowercli.description import check
from flowercli.errors import BundleError, UsageError
from flowercli.inference.classifier import Classifier
from flowercli.models import load_model
from flowercli.teaching.exemplars import LEAST_PROBABILITY, STORED, Exemplars, make_exemplars, put_into
from flowercli.teaching.fit import Space
from flowercli.teaching.graph_edit import Addition, Node, before, with_addition, without_addition
from flowercli.teaching.head import evidence, features
from flowercli.teaching.history import History
from flowercli.teaching.lesson import checked_name, known_as
from flowercli.teaching.report import threshold_of
from flowercli.teaching.teach import Course, Pupil, teach


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    from flowercli.evaluation.bundle_data import bundle_data

    made, data, outliers = teachable(tmp_path_factory.mktemp("teachable"))
    classifier = Classifier.open(made, "cpu")
    return put_into(made, make_exemplars(classifier, bundle_data(made, data, outliers)), classifier.runtime.graph)


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return write_new(tmp_path_factory.mktemp("new"))


@pytest.fixture(scope="module")
def seen(bundle):
    return Exemplars.read(bundle, ONNX_INT8, 5)


def test_a_graph_gets_nodes_behind_its_outputs_and_loses_them_byte_for_byte():
    shipped = load_model("flowers5")
    model, text = shipped.file(ONNX_INT8).read_bytes(), embeddable_config(shipped.config)
    nodes = (
        Node("MatMul", (before("probabilities"), "taught.twice"), "taught.both"),
        Node("Concat", (before("probabilities"), "taught.both"), "taught.all", {"axis": 1}),
        Node("Softmax", ("taught.all",), "probabilities", {"axis": 1}),
    )
    addition = Addition(nodes, {"taught.twice": 2 * np.eye(5)}, {"probabilities": 10})
    changed = with_addition(model, addition, "{}")
    session = ort.InferenceSession(changed)
    assert {output.name: output.shape[1] for output in session.get_outputs()}["probabilities"] == 10
    assert session.get_modelmeta().custom_metadata_map["config.json"] == "{}"
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    old = ort.InferenceSession(model).run(["probabilities"], {"pixels": pixels})[0]
    both = np.exp(np.concatenate([old, 2 * old], axis=1))
    new = session.run(["probabilities"], {"pixels": pixels})[0]
    assert new == pytest.approx(both / both.sum(axis=1, keepdims=True), abs=1e-5)
    again = without_addition(changed, {"probabilities": 5}, text)
    assert again == without_addition(model, {"probabilities": 5}, text)


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_damaged_graph_is_refused(cut):
    model = load_model("flowers5").file(ONNX_INT8).read_bytes()
    addition = Addition((), {}, {"probabilities": 5})
    with pytest.raises(BundleError):
        with_addition(model[:-cut], addition, "{}")
    with pytest.raises(BundleError, match="opset"):
        with_addition(b"", addition, "{}")


def test_the_written_graph_is_the_arithmetic(bundle, new, tmp_path):
    photos = {name: [str(path) for path in sorted((new / name).iterdir())] for name in ("blue_thing", "yellow_thing")}
    teach(bundle, photos, ["daisy"], tmp_path / "mine")
    taught = Bundle.load(tmp_path / "mine")
    pupil = Pupil(taught)
    head = Course(pupil.history, pupil.seen).fitted.head
    now, was = Classifier.open(taught, "cpu"), pupil.opened(tmp_path)
    for path in (*photos["blue_thing"], *photos["yellow_thing"]):
        pixels = now.load(path).pixels[np.newaxis]
        old, new_one = was.run(pixels), now.run(pixels)
        logs = np.log(np.maximum(old.probabilities.astype(np.float64), LEAST_PROBABILITY))
        shares, known = head.combined(head.evidence(old.embedding), logs, old.known)
        assert new_one.probabilities == pytest.approx(shares, abs=1e-4)
        assert new_one.known == pytest.approx(known, abs=1e-4)
        assert np.array_equal(new_one.embedding, old.embedding)


def test_what_is_left_out_is_what_fitting_without_it_gives(seen):
    space = Space(seen, 5)
    weight, bias = space.discriminants([])
    scores = space.left_out(weight, bias)
    for row in (0, 13, 39, len(seen) - 1):
        fewer = Space(seen.take(np.arange(len(seen)) != row), 5)
        alone = features(seen.embedding[row : row + 1]) @ np.stack(fewer.discriminants([])[0])
        wanted = (alone + fewer.discriminants([])[1])[0]
        # The mean of all directions, which the matrix is drawn to, is not worked out anew for each.
        ours = scores[row] - scores[row].mean()
        assert np.corrcoef(ours, wanted - wanted.mean())[0, 1] > 0.99


def test_evidence_is_how_much_likelier_a_flower_is_than_all_before():
    scores = np.log([[0.2, 0.3, 0.5], [0.25, 0.25, 0.5]])
    assert evidence(scores, 1) == pytest.approx(np.zeros((2, 1)), abs=1e-9)
    assert evidence(scores + np.array([0.0, 0.0, 2.0]), 1)[0, 0] > 0
    assert np.isfinite(evidence(np.array([[0.0, 0.0, -1e9]]), 1)).all()


def test_features_are_of_length_one_and_keep_signs():
    found = features(np.array([[4.0, -1.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0]]))
    assert found[0] == pytest.approx(np.array([2, -1, 0, 2]) / 3)
    assert not found[1].any()


def test_the_threshold_keeps_as_many_and_never_fewer_refusals_than_before(seen):
    shows = seen.take(seen.class_index >= 0)
    before_it = float(np.quantile(shows.known, 0.2))
    higher = np.minimum(1, shows.known + 0.1)
    new_one = threshold_of(before_it, shows, higher, [])
    assert (higher >= new_one).mean() >= (shows.known >= before_it).mean()
    assert new_one > before_it
    assert threshold_of(before_it, shows, higher, [np.array([0.0, 0.0, 1.0])]) == before_it


def test_exemplars_come_back_as_they_were(seen, tmp_path):
    seen.write(tmp_path / "one.npz", "a" * 64)
    seen.write(tmp_path / "two.npz", "a" * 64)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as file:
        again = Exemplars._of_columns(file)
    for name, values in vars(seen).items():
        assert np.array_equal(values, getattr(again, name)), name


def altered(file, **changes):
    with np.load(file, allow_pickle=False) as opened:
        arrays = {name: opened[name] for name in opened.files if name != "allow_pickle"}  # numpy before 2.2 keeps it.
    stream = io.BytesIO()
    np.savez_compressed(stream, **{**arrays, **changes})
    return stream.getvalue()


HOSTILE = {
    "nothing": lambda _file: b"",
    "text": lambda _file: b"no archive",
    "cut": lambda file: file.read_bytes()[:-200],
    "objects": lambda file: altered(file, known=np.array([{}], dtype=object)),
    "other type": lambda file: altered(file, scale=np.zeros(46)),
    "other length": lambda file: altered(file, known=np.zeros(3, np.float32)),
    "other size": lambda file: altered(file, levels=np.zeros((46, 7), np.int8)),
    "no numbers": lambda file: altered(file, scale=np.full(46, np.nan, np.float32)),
    "no probabilities": lambda file: altered(file, log_probabilities=np.ones((46, 5), np.float16)),
    "no shares": lambda file: altered(file, known=np.full(46, 2, np.float32)),
    "other classes": lambda file: altered(file, class_index=np.full(46, 9, np.int32)),
    "one class": lambda file: altered(file, class_index=np.zeros(46, np.int32)),
    "later": lambda file: altered(file, version=np.array(99)),
    "other graph": lambda file: altered(file, graph=np.array("b" * 64)),
    "no graph": lambda file: altered(file, graph=np.zeros(3)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_exemplars_of_strangers_are_refused(bundle, tmp_path, kind):
    copy = Bundle.load(shutil.copytree(bundle.path, tmp_path / "copy"))
    (tmp_path / EMBEDDINGS).write_bytes(HOSTILE[kind](copy.path / EMBEDDINGS))
    copy = add_files(copy, {EMBEDDINGS: tmp_path / EMBEDDINGS})
    with pytest.raises(BundleError) as caught:
        Exemplars.read(copy, ONNX_INT8, 5)
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": []},
        {"class_names": ["a", "a"]},
        {"flowers": {"poppy": ["no hash"]}},
        {"flowers": []},
        {"threshold": "high"},
        {"forgotten": ["nothing"]},
        {"more": 1},
    ],
)
def test_a_damaged_history_is_refused(bundle, change):
    section = {**bundle.section, "taught": {**History.of(bundle, ONNX_INT8).as_dict(), **change}}
    with pytest.raises(BundleError, match="damaged"):
        Pupil(Bundle(bundle.path, {**bundle.config, "flowers": section}))


def test_names():
    assert checked_name("  red  poppy ") == "red_poppy"
    assert checked_name("roses") == "rose"
    assert checked_name("Gänseblümchen") == "Gänseblümchen"


def test_a_name_is_known_however_it_is_written():
    names = ["ox-eye daisy", "Gänseblümchen", "rose", "lily_of_the_valley"]
    for text, name in {
        "ox-eye daisy": names[0], "OX-EYE Daisy": names[0], "Ga\u0308nseblu\u0308mchen": names[1], "Rose": "rose",
        "roses": "rose", "lily of the valley": names[3], "red poppy": "red_poppy",
    }.items():  # fmt: skip
        assert known_as(text, names) == name


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", "Bellis perennis L.", "CON", "a:b", "Rose|Red", "_refused", "a,b", ".x"]
)
def test_what_can_be_no_folder_is_no_name(name):
    with pytest.raises(UsageError, match="no name for a flower"):
        checked_name(name)


def test_embeddings_of_another_network_are_refused_before_anything_is_fitted(bundle, tmp_path):
    copy = Bundle.load(shutil.copytree(bundle.path, tmp_path / "copy"))
    (tmp_path / EMBEDDINGS).write_bytes(altered(copy.path / EMBEDDINGS, levels=np.ones((46, 7), np.int8)))
    copy = add_files(copy, {EMBEDDINGS: tmp_path / EMBEDDINGS})
    without = {**copy.section}
    del without["embedding_size"]
    pupil = Pupil(Bundle(copy.path, {**copy.config, "flowers": without}))
    with pytest.raises(BundleError, match="of another network"):
        pupil.opened(tmp_path)


@pytest.mark.parametrize("taught", [5, {"flowers": 5}, {"model": "x", "flowers": {}, "forgotten": [1]}])
def test_a_description_says_what_was_taught_or_is_refused(bundle, tmp_path, taught):
    with pytest.raises(BundleError, match="taught does not say"):
        check({**bundle.config, "flowers": {**bundle.section, "taught": taught}}, tmp_path)


def test_a_flower_may_be_called_as_a_local_path_is():
    section = {"taught": {"flowers": {"teacher": ["a"], "path": ["b"]}}, "provenance": {"config": {"output": "/x"}}}
    assert without_local_paths(section) == {**section, "provenance": {"config": {"output": None}}}


def test_what_is_stored_has_columns_for_everything(seen):
    assert set(vars(seen)) == STORED.keys() - {"levels", "scale"} | {"embedding"}
