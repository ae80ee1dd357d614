"""``flowers drift`` and the reference: what they say, when they refuse, and what they write."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, SAMPLES, command, flowers
from PIL import Image, ImageEnhance

from flowercli import json_text
from flowercli.bundle import MANIFEST, REFERENCE, Bundle, add_files, to_json
from flowercli.cli.output import print_json
from flowercli.data.manifest import Entry, Manifest
from flowercli.inference.classifier import Classifier
from flowercli.models import load_model, shipped_names
from flowercli.monitoring.drift import DRIFTING, STABLE, compare
from flowercli.monitoring.features import Sample, identity
from flowercli.monitoring.history import Verdict, Window
from flowercli.monitoring.log_file import append, models_in, open_to_write, read, to_rows
from flowercli.monitoring.log_rows import LoggedModel
from flowercli.monitoring.reference import VERSION, Reference, add_reference, choose

NOW = 1_790_000_000.0
PHOTOS = 120
# The class mix of more flowers wants more answers.
MODEL = "flowers5"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Return a copy of the model of five flowers whose reference is of parts of the samples, brighter and darker."""
    folder = tmp_path_factory.mktemp("watched")
    generator = np.random.default_rng(0)
    for number, path in enumerate(sorted(SAMPLES.glob("*.jpg")) * (PHOTOS // 5)):
        with Image.open(path) as image:
            left, top = (generator.uniform(0, 0.3, 2) * image.size).astype(int)
            part = image.crop((left, top, *(generator.uniform(0.7, 1, 2) * image.size).astype(int)))
            ImageEnhance.Brightness(part).enhance(generator.uniform(0.6, 1.4)).save(folder / f"{number}.jpg")
    return with_reference(folder / "watched", folder, [f"{number}.jpg" for number in range(PHOTOS)])


def with_reference(target, root, paths):
    """Copy the model, and make a reference of these photographs as it answers about them."""
    copy = Bundle.load(shutil.copytree(load_model(MODEL).path, target))
    return add_reference(Classifier.open(copy, "cpu"), root, [Entry(str(path), "", "val", "") for path in paths])


@pytest.fixture(scope="module")
def reference(bundle):
    return Reference.read(bundle)


def drawn(reference, count, seed=0, **changes):
    """Return answers like those of the reference, but for the columns that are changed."""
    places = np.random.default_rng(seed).integers(0, len(reference.sample), count)
    columns = vars(reference.sample.take(places))
    return Sample.of(columns | {name: change(columns[name]) for name, change in changes.items()})


def write_log(path, bundle, sample, graph="model.int8.onnx", start=NOW, step=60.0):
    connection = open_to_write(path)
    times = [start + step * number for number in range(len(sample))]
    rows = to_rows(times, [None] * len(times), [False] * len(times), sample)
    append(connection, LoggedModel.of(bundle, graph), rows, 10**6)
    connection.close()
    return path


@pytest.fixture
def usual(tmp_path, bundle, reference):
    return write_log(tmp_path / "usual.db", bundle, drawn(reference, 300))


@pytest.fixture
def dark(tmp_path, bundle, reference):
    return write_log(tmp_path / "dark.db", bundle, drawn(reference, 300, brightness=lambda old: old * 0.6))


def test_usual_log_is_stable(run, usual, bundle):
    done = run("drift", usual, "--reference", bundle.path, "--fail-on-drift")
    assert done.code == 0
    assert "Stable: nothing has changed by more than chance" in done.out
    for name in ("confidence", "known", "brightness", "megapixels", "class mix"):
        assert re.search(rf"^ *{name} .* stable *$", done.out, re.MULTILINE), done.out


def test_darker_pictures_are_drifting_by_their_brightness_alone(run, bundle, dark):
    done = run("drift", dark, "--reference", bundle.path)
    assert done.code == 0
    assert "Drifting: " in done.out
    assert run("drift", dark, "--reference", bundle.path, "--fail-on-drift").code == 5
    said = json.loads(run("drift", dark, "--reference", bundle.path, "--json", "--fail-on-drift").out)
    verdicts = {feature["name"]: feature["verdict"] for feature in said["features"]}
    assert said["verdict"] == "drifting"
    assert verdicts.pop("brightness") == "large change"
    assert set(verdicts.values()) == {"stable"}
    brightness = next(feature for feature in said["features"] if feature["name"] == "brightness")
    assert brightness["low"] <= brightness["index"] <= brightness["high"]
    assert brightness["current_median"] < brightness["reference_median"]
    assert sum(brightness["current"]) == pytest.approx(1, abs=1e-3)
    assert len(brightness["bins"]) == len(brightness["reference"])


def test_small_log_is_not_enough_and_the_rest_is_counted(run, tmp_path, bundle, reference):
    log = write_log(tmp_path / "log.db", bundle, drawn(reference, 40))
    said = json.loads(run("drift", log, "--reference", bundle.path, "--json", "--fail-on-drift").out)
    assert said["verdict"] == "not enough data"
    done = run("drift", log, "--reference", bundle.path)
    assert done.code == 0
    more = int(re.search(r"Not enough data: (\d+) more answers", done.out)[1])
    assert more == said["needed"] - 40
    whole = compare(reference, drawn(reference, 40 + more), bundle.class_names)
    assert whole.verdict == STABLE
    few = write_log(tmp_path / "few.db", bundle, drawn(reference, 9))
    assert json.loads(run("drift", few, "--reference", bundle.path, "--json").out)["features"] == []
    assert "Not enough data" in run("drift", few, "--reference", bundle.path).out


def test_every_feature_can_be_the_one(bundle, reference):
    def another_class(index):
        return np.where(np.arange(len(index)) % 2 == 0, 1, index)

    changes = {
        "confidence": {"confidence": lambda old: old * 0.8},
        "known": {"known": lambda old: old * 0.8},
        "megapixels": {"width": lambda old: old * 2, "height": lambda old: old * 2},
        "class mix": {"class_index": another_class},
    }
    for name, change in changes.items():
        comparison = compare(reference, drawn(reference, 300, **change), bundle.class_names)
        assert comparison.verdict == DRIFTING
        assert name in [feature.name for feature in comparison.changed]
        assert len(comparison.changed) <= 2


@pytest.mark.parametrize("photos", [1, 2, 9])
def test_a_validation_split_of_a_few_photographs_decides_nothing(run, tmp_path, bundle, reference, photos):
    few = Bundle.load(shutil.copytree(bundle.path, tmp_path / "few"))
    Reference(reference.sample.take(slice(photos)), reference.graph).write(tmp_path / "few.npz")
    add_files(few, {REFERENCE: tmp_path / "few.npz"})
    other = drawn(reference, 300, brightness=lambda old: old * 0.3, class_index=lambda old: old * 0 + 4)
    log = write_log(tmp_path / "log.db", bundle, other)
    said = json_text.loads(run("drift", log, "--reference", few.path, "--json", "--fail-on-drift").out)
    assert (said["verdict"], said["needed"], said["features"]) == ("not enough data", None, [])
    assert "validation split is so small" in run("drift", log, "--reference", few.path).out


@pytest.mark.parametrize("document", [{"a": [1.5, float("-inf")], "b": {"c": (float("nan"), None)}}])
def test_no_document_of_ours_has_numbers_that_json_does_not_know(document, capsys):
    for text in (json_text.dumps(document), json_text.dumps(document, ascii_only=True), to_json(document)):
        assert json_text.loads(text) == {"a": [1.5, None], "b": {"c": [None, None]}}
    print_json(document)
    assert json_text.loads(capsys.readouterr().out)["a"] == [1.5, None]


def test_same_log_gives_the_same_verdict(run, dark, bundle):
    first, second = (run("drift", dark, "--reference", bundle.path, "--json").out for _ in range(2))
    assert first == second


def test_windows_tell_since_when(run, tmp_path, bundle, reference):
    log = write_log(tmp_path / "log.db", bundle, drawn(reference, 450))
    write_log(log, bundle, drawn(reference, 200, 1, brightness=lambda old: old * 0.5), start=NOW + 450 * 60)
    said = json.loads(run("drift", log, "--reference", bundle.path, "--window", 200, "--json").out)
    assert [one["verdict"] for one in said["earlier"]] == ["stable", "stable"]
    assert said["verdict"] == "drifting"
    assert said["answers"] == 200
    assert said["first"] > said["earlier"][-1]["last"] > said["earlier"][-1]["first"]
    shown = run("drift", log, "--reference", bundle.path, "--window", 200).out
    assert "drifting: brightness" in shown
    assert run("drift", log, "--window", 5).code == 2


def test_since_leaves_the_past_out(run, tmp_path, bundle, reference):
    log = write_log(tmp_path / "log.db", bundle, drawn(reference, 200, brightness=lambda old: old * 0.5), start=NOW)
    write_log(log, bundle, drawn(reference, 250), start=time.time() - 250 * 60)
    assert json.loads(run("drift", log, "--reference", bundle.path, "--json").out)["verdict"] == "drifting"
    for since in ("1w", "2026-11-01", "2026-11-01T00:00:00+00:00"):
        said = json.loads(run("drift", log, "--reference", bundle.path, "--since", since, "--json").out)
        assert (said["verdict"], said["answers"]) == ("stable", 250)
    done = run("drift", log, "--reference", MODEL, "--since", "1m")
    assert (done.code, "no answers since then" in done.err) == (1, True)
    done = run("drift", log, "--reference", MODEL, "--since", "yesterday")
    assert (done.code, "that is no time" in done.err) == (2, True)


@pytest.fixture
def another(tmp_path, bundle):
    """Return a model that differs by its temperature."""
    folder = shutil.copytree(bundle.path, tmp_path / "another")
    config = json.loads((folder / "config.json").read_text())
    config["flowers"]["temperature"] *= 2
    (folder / "config.json").write_text(json.dumps(config))
    return Bundle.load(folder)


def test_log_of_another_model_is_refused(run, usual, another):
    done = run("drift", usual, "--reference", another.path)
    assert done.code == 1
    assert "are of another model (watched) than the reference (another)" in done.err
    assert "--reference watched" in done.err


def test_answers_of_other_models_and_graphs_are_told_apart(run, usual, bundle, another, reference):
    write_log(usual, another, drawn(reference, 40))
    write_log(usual, bundle, drawn(reference, 20), graph="model.onnx")
    done = run("drift", usual, "--reference", bundle.path, "--json")
    assert json.loads(done.out)["answers"] == 320
    assert "40 answers of other models are left out." in done.err
    assert "The answers are of model.int8.onnx and model.onnx, the reference is of model.int8.onnx" in done.err


def test_missing_and_empty_logs_are_told(run, tmp_path):
    done = run("drift", tmp_path / "none.db")
    assert done.code == 1
    assert "flowers classify PICTURES --log" in done.err
    (tmp_path / "empty.db").touch()
    assert "nothing was logged yet" in run("drift", tmp_path / "empty.db").err
    open_to_write(tmp_path / "new.db").close()
    assert "has no answers yet" in run("drift", tmp_path / "new.db").err


@pytest.fixture
def copy(tmp_path, bundle):
    return shutil.copytree(bundle.path, tmp_path / "bundle")


def test_bundle_without_reference_says_how_to_make_one(run, usual, copy):
    config = json.loads((copy / "config.json").read_text())
    del config["flowers"]["files"][REFERENCE]
    (copy / "config.json").write_text(json.dumps(config))
    done = run("drift", usual, "--reference", copy)
    assert done.code == 1
    assert f"flowers reference {copy} --data DIR" in done.err


@pytest.mark.parametrize("damage", ["bytes", "pickle", "lengths", "numbers", "classes", "bomb", "older", "newer"])
def test_damaged_references_are_refused(run, usual, copy, reference, damage):
    path = copy / REFERENCE
    if damage == "bytes":
        path.write_bytes(b"PK\x03\x04" + b"0" * 100)
    else:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        changed = {
            "pickle": {"confidence": np.array([{}] * len(reference.sample), dtype=object)},
            "lengths": {"confidence": arrays["confidence"][:-1]},
            "numbers": {"known": arrays["known"] * np.inf},
            # Four thousand times as large unpacked.
            "bomb": {"more": np.zeros(2**24)},
            "classes": {"class_index": arrays["class_index"] + 999},
            "older": {"version": np.array(VERSION - 1)},
            "newer": {"version": np.array(VERSION + 1)},
        }[damage]
        with path.open("wb") as file:
            np.savez_compressed(file, **(arrays | changed))
    done = run("drift", usual, "--reference", copy)
    assert (done.code, "is not the file the bundle lists" in done.err) == (1, True)
    list_again(copy)
    done = run("drift", usual, "--reference", copy)
    assert done.code == 1
    said = {"older": f"has format {VERSION - 1};", "newer": f"has format {VERSION + 1};"}.get(damage, "is damaged")
    assert said in done.err
    assert ("pip install --upgrade" if damage == "newer" else f"flowers reference {copy}") in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("confidence", lambda old: np.full(len(old), -5.0)),
        ("known", lambda old: old + 1),
        ("known", lambda old: old > 0),
        ("brightness", lambda old: old * -1e30),
        ("brightness", lambda old: np.full(len(old), np.finfo(np.longdouble).max)),
        ("width", lambda old: np.full(len(old), 1e300)),
        ("width", lambda old: np.full(len(old), np.inf)),
        ("width", lambda old: old.astype(complex)),
        ("width", lambda old: np.full(len(old), "2020-01-01", "M8[s]")),
        ("height", lambda old: old.astype(str)),
        ("class_index", lambda old: old * 0.5 + 0.25),
        ("class_index", lambda old: np.full(len(old), 1e300)),
        ("class_index", lambda old: old[0]),
        ("version", lambda _: np.array([2, 2])),
        ("version", lambda _: np.array("2")),
        ("graph", lambda _: np.array(["a", "b"])),
        ("graph", lambda _: np.array(5)),
        ("graph", lambda _: np.array("g" * 10_000)),
    ],
)
def test_what_no_answer_is_in_a_reference_is_damage(run, usual, copy, name, change):
    path = copy / REFERENCE
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez_compressed(path, **(arrays | {name: change(arrays[name])}))
    list_again(copy)
    done = run("drift", usual, "--reference", copy)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"Error: The reference {path} is damaged: ")
    assert f"flowers reference {copy}" in done.err


def test_names_in_a_log_are_shown_in_one_line(run, tmp_path, bundle, another, reference):
    log = write_log(tmp_path / "log.db", bundle, drawn(reference, 20), graph="model\nError: \x1b[2J.onnx")
    done = run("drift", log, "--reference", bundle.path)
    assert r"The answers are of model\nError: \x1b[2J.onnx, the reference is of model.int8.onnx" in done.err
    named = replace(LoggedModel.of(bundle, "g"), name="a; b\nc")
    with closing(open_to_write(tmp_path / "named.db")) as connection:
        append(connection, named, to_rows([NOW], [None], [False], drawn(reference, 1)), 10)
    done = run("drift", tmp_path / "named.db", "--reference", another.path)
    assert r"of another model (a; b\nc)" in done.err
    assert r"--reference 'a; b\nc'" in done.err


def test_a_log_with_other_classes_than_its_model_is_damaged(run, tmp_path, bundle, reference):
    more = replace(LoggedModel.of(bundle, "g"), class_names=tuple(map(str, range(65_536))))
    sample = drawn(reference, 20, class_index=lambda old: old + 65_000)
    with closing(open_to_write(tmp_path / "log.db")) as connection:
        append(connection, more, to_rows([NOW] * 20, [None] * 20, [False] * 20, sample), 100)
    done = run("drift", tmp_path / "log.db", "--reference", bundle.path)
    assert (done.code, "is damaged: it has other class names than its model" in done.err) == (1, True)


def list_again(folder):
    """Enter the reference's size and hash, as somebody would who makes bad bundles on purpose."""
    from flowercli.bundle import describe

    config = json.loads((folder / "config.json").read_text())
    config["flowers"]["files"][REFERENCE] = describe(folder / REFERENCE)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_references_are_of_the_validation_split(name):
    shipped = load_model(name)
    found = Reference.read(shipped)
    assert len(found.sample) == len(choose(Manifest.read(shipped.file(MANIFEST))))
    assert found.graph == "model.int8.onnx"
    assert shipped.file(REFERENCE).stat().st_size < 30_000


def test_training_and_exporting_write_the_reference(trained, dataset, tmp_path, run):
    bundle = Bundle.load(trained)
    found = Reference.read(bundle)
    assert found.graph == "model.int8.onnx"
    assert 0 <= found.sample.known.min() <= found.sample.known.max() <= 1
    copy = shutil.copytree(trained, tmp_path / "bundle")
    assert run("reference", copy, "--data", dataset).code == 0
    # What is made anew from the same photographs is the same file.
    assert (copy / REFERENCE).read_bytes() == (trained / REFERENCE).read_bytes()
    Bundle.load(copy).verify()


def test_small_validation_split_never_is_enough(trained, dataset, tmp_path, run):
    log = tmp_path / "log.db"
    assert run("classify", dataset / "blue", "--model", trained, "--log", log).code == 0
    done = run("drift", log, "--reference", trained)
    assert done.code == 0
    assert "Drifting" in done.out or "validation split is so small" in done.out


def test_reference_of_what_may_not_be_changed_is_refused(run):
    done = run("reference", load_model(None).path)
    assert done.code == 2
    assert "not to be changed" in done.err


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_plot_is_drawn(run, tmp_path, bundle, dark, suffix):
    pytest.importorskip("matplotlib", reason="needs the extra 'train'")
    pytest.importorskip("sklearn", reason="needs the extra 'train'")
    target = tmp_path / f"drift{suffix}"
    assert run("drift", dark, "--reference", bundle.path, "--plot", target, "--window", 100).code == 0
    if suffix == ".svg":
        drawn = target.read_text()
        for text in ("drifting", "brightness: large change", "validation photographs", "Over time", "class mix"):
            assert text in drawn
        assert "<script" not in drawn
    else:
        assert target.read_bytes().startswith(b"\x89PNG")


def test_plot_of_a_log_that_is_too_small_is_drawn(run, tmp_path, bundle, reference):
    pytest.importorskip("sklearn", reason="needs the extra 'train'")
    log = write_log(tmp_path / "log.db", bundle, drawn(reference, 5))
    assert run("drift", log, "--reference", bundle.path, "--plot", tmp_path / "drift.svg").code == 0
    assert "not enough data" in (tmp_path / "drift.svg").read_text()


def test_plot_of_many_classes_shows_those_that_have_changed_most():
    pytest.importorskip("sklearn", reason="needs the extra 'train'")
    from flowercli.reporting.drift_plot import MOST_BARS, drift_figure

    generator = np.random.default_rng(0)
    columns = {name: generator.uniform(1, 2, 400) for name in ("confidence", "known", "brightness", "width", "height")}
    before, now = (Sample.of({**columns, "class_index": generator.integers(0, 106, 400)}) for _ in range(2))
    now.class_index[:200] = 77
    names = [f"{'first' if index < 100 else 'last'}_{index}" for index in range(106)]
    comparison = compare(Reference(before, "g"), now, names)
    (panel,) = (
        axes
        for axes in drift_figure(Verdict("m", Window(0, 1, comparison), [], [])).axes
        if "class mix, " in axes.get_title("left")
    )
    shown = [text.get_text() for text in panel.get_yticklabels()]
    assert "first 77" in shown
    assert len(shown) == MOST_BARS


@pytest.mark.parametrize("name", ["drift.gif", "missing/drift.svg"])
def test_plots_that_cannot_be_are_refused_first(run, tmp_path, usual, name):
    done = run("drift", usual, "--reference", MODEL, "--plot", tmp_path / name)
    assert (done.code, done.out) == (2, "")


def test_plot_without_matplotlib_names_the_extra(usual, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError('none here', name='matplotlib')")
    arguments = ("drift", usual, "--reference", MODEL, "--plot", tmp_path / "drift.svg")
    done = flowers(*arguments, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert done.code == 4
    assert "[train]" in done.err


def test_parquet_holds_the_log(run, tmp_path, usual, bundle):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'serve'")
    target = tmp_path / "log.parquet"
    done = run("drift", usual, "--export-parquet", target)
    assert (done.code, done.out) == (0, "")
    assert f"300 answers in {target}" in done.err
    table = parquet.read_table(target)
    logged = read(usual, identity(bundle))
    assert table["confidence"].to_pylist() == logged.sample.confidence.tolist()
    assert table["known"].to_pylist() == logged.sample.known.tolist()
    assert set(table["rejected"].to_pylist()) == {False}
    names = [bundle.class_names[index] for index in logged.sample.class_index]
    assert table["class_name"].to_pylist() == names
    assert table["time"][0].as_py().timestamp() == NOW


def test_server_feeds_the_log(tmp_path):
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    log = tmp_path / "log.db"
    arguments = command("serve", "--port", "0", "--log", log, "--no-access-log", "--workers", "2")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, cwd=ROOT) as server:
        address = next(line for line in server.stderr if line.startswith("Ready: ")).split()[1]
        for path in sorted(SAMPLES.glob("*.jpg")):
            request = urllib.request.Request(  # noqa: S310
                f"{address}/v1/classify", path.read_bytes(), {"Content-Type": "image/jpeg"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                assert answer.status == 200
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
    (model,) = models_in(log)
    assert (model.name, model.answers) == (load_model(None).path.name, 5)
    asked = Classifier.open(load_model(None), "cpu")
    expected = [asked.classify(path).class_index for path in SAMPLES.glob("*.jpg")]
    assert sorted(read(log, model.identity).sample.class_index) == sorted(expected)


@pytest.mark.photos
def test_real_photographs(run, photos, tmp_path):
    """Photographs of the same kind are not called drifting; the same ones darkened are, by brightness at least."""
    paths = sorted(photos.glob("*/*.jpg"))[::15]
    watched = with_reference(tmp_path / "watched", photos, [path.relative_to(photos) for path in paths[::2]])
    (tmp_path / "dark").mkdir()
    for number, path in enumerate(paths[1::2]):
        with Image.open(path) as image:
            ImageEnhance.Brightness(image.convert("RGB")).enhance(0.6).save(tmp_path / "dark" / f"{number:03}.jpg")
    assert run("classify", *paths[1::2], "--model", MODEL, "--log", tmp_path / "same.db").code == 0
    assert run("classify", tmp_path / "dark", "--model", MODEL, "--log", tmp_path / "dark.db").code == 0
    same, dark = (
        json.loads(run("drift", tmp_path / f"{name}.db", "--reference", watched.path, "--json").out)
        for name in ("same", "dark")
    )
    assert {feature["verdict"] for feature in same["features"]} == {"stable"}
    assert "brightness" in [one["name"] for one in dark["features"] if one["verdict"] != "stable"]
