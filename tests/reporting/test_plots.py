"""Figures: what is drawn is what was given, text stays text, and nothing global is touched."""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="needs the extra 'train'")

import matplotlib as mpl
from matplotlib._pylab_helpers import Gcf
from matplotlib.colors import to_rgb
from sklearn.metrics import average_precision_score, precision_recall_curve

from flowercli.evaluation.answers import Answers
from flowercli.evaluation.metrics import evaluate
from flowercli.reporting import drawing
from flowercli.reporting.embedding_map import MOST_POINTS, embedding_map, project, sample
from flowercli.reporting.figure_list import Plot, answer_plots
from flowercli.reporting.page import inline_svg
from flowercli.reporting.plot_files import png, svg, write_plots
from flowercli.reporting.plot_style import INK, label, series

NAMES = ["daisy", "$rose_", "<script>alert(1)</script>", "黄水仙"]
HISTORY = [
    {"epoch": 1, "loss": 1.5, "learning_rate": 5e-4, "val_accuracy": None, "val_loss": None},
    {"epoch": 2, "loss": 0.75, "learning_rate": 1e-3, "val_accuracy": 0.875, "val_loss": 0.5},
    {"epoch": 3, "loss": 0.5, "learning_rate": 1e-4, "val_accuracy": 0.8125, "val_loss": 0.625},
]


def made_answers(count=80, classes=4, seed=0):
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes)) * 2 + 3 * np.eye(classes)[targets]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    embeddings = generator.normal(size=(count, 20)) + 5 * np.eye(20)[targets]
    paths, known = [f"{i}.jpg" for i in range(count)], probabilities.max(axis=1)
    return Answers(paths, targets, probabilities, embeddings.astype(np.float32), known)


@pytest.fixture(scope="module")
def answers():
    return made_answers()


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def test_learning_curves_hold_the_history():
    figure = drawing.learning_curves(HISTORY)
    losses, accuracy = figure.axes
    training, validation = losses.lines
    assert training.get_xydata().tolist() == [[1, 1.5], [2, 0.75], [3, 0.5]]
    assert validation.get_xydata().tolist() == [[2, 0.5], [3, 0.625]]
    assert accuracy.lines[0].get_xydata().tolist() == [[2, 0.875], [3, 0.8125]]
    assert "87.5 %, epoch 2" in figure.get_suptitle()
    assert (accuracy.get_xlabel(), losses.get_ylabel()) == ("Epoch", "Loss (nats)")
    rates = drawing.learning_rate(HISTORY).axes[0].lines[0]
    assert rates.get_xydata().tolist() == [[1, 5e-4], [2, 1e-3], [3, 1e-4]]


def test_history_without_validation():
    figure = drawing.learning_curves(HISTORY[:1])
    assert "%" not in figure.get_suptitle()
    assert png(figure).startswith(b"\x89PNG")


def test_confusion_matrix_holds_counts_and_shares():
    matrix = np.array([[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 2, 2], [0, 0, 0, 0]])
    figure = drawing.confusion_matrix(matrix, NAMES)
    written = {tuple(map(round, text.get_position())): text.get_text() for text in figure.axes[0].texts}
    assert written == {(0, 0): "3\n75 %", (1, 0): "1\n25 %", (1, 1): "4\n100 %", (2, 2): "2\n50 %", (3, 2): "2\n50 %"}
    shades = {tuple(patch.get_xy()): patch.get_alpha() for patch in figure.axes[0].patches}
    assert shades[-0.5, -0.5] == pytest.approx(3 * shades[0.5, -0.5])
    assert "9 of 12" in figure.get_suptitle()


def test_matrix_of_many_classes_stays_a_picture_that_can_be_made():
    figure = drawing.confusion_matrix(np.eye(400, dtype=int), [f"class {i}" for i in range(400)])
    assert max(figure.get_size_inches()) <= 22
    assert not figure.axes[0].texts


def test_precision_recall_curves_are_those_of_scikit_learn(answers):
    figure = drawing.precision_recall(answers.probabilities, answers.targets, NAMES)
    for index, line in enumerate(figure.axes[0].lines):
        own = answers.targets == index
        precision, recall, _ = precision_recall_curve(own, answers.probabilities[:, index])
        assert np.array_equal(line.get_xdata(), recall)
        assert np.array_equal(line.get_ydata(), precision)
        ap = average_precision_score(own, answers.probabilities[:, index])
        assert line.get_label().endswith(f"AP {100 * ap:.1f} %")
    assert len(figure.axes[0].lines) == 4


def test_only_the_worst_of_many_classes_are_drawn():
    many = made_answers(300, 20)
    names = [f"class {index}" for index in range(20)]
    figure = drawing.precision_recall(many.probabilities, many.targets, names)
    scores = drawing.average_precisions(many.probabilities, many.targets)
    worst = sorted(scores, key=scores.get)[:8]
    assert {line.get_label().split(",")[0] for line in figure.axes[0].lines} == {names[index] for index in worst}
    assert "8 of 20" in figure.get_suptitle()


def test_class_without_photographs_has_no_curve():
    two = made_answers(40, 2)
    probabilities = np.hstack([two.probabilities * 0.9, np.full((40, 1), 0.1)])
    assert len(drawing.precision_recall(probabilities, two.targets, NAMES[:3]).axes[0].lines) == 2


def test_reliability_agrees_with_the_metric(answers):
    found = drawing.calibration(answers.probabilities, answers.targets)
    assert found.counts.sum() == 80
    metrics = evaluate(answers.probabilities, answers.targets, NAMES)
    assert found.ece == pytest.approx(metrics["ece"]["value"], abs=1e-6)
    upper, lower = drawing.reliability(answers.probabilities, answers.targets).axes
    assert [bar.get_height() for bar in lower.patches] == found.counts.tolist()
    drawn = upper.containers[0].lines[0].get_xydata()
    filled = found.counts > 0
    assert np.allclose(drawn, np.column_stack([found.confidence[filled], found.accuracy[filled]]))


def test_embedding_map_rings_what_is_wrong(answers):
    figure = embedding_map(answers.embeddings, answers.targets, answers.predictions, NAMES)
    *classes, rings = figure.axes[0].collections
    assert [len(points.get_offsets()) for points in classes] == np.bincount(answers.targets).tolist()
    assert len(rings.get_offsets()) == (~answers.right).sum() > 0
    everything = np.concatenate([points.get_offsets() for points in classes])
    assert all((everything == ring).all(axis=1).any() for ring in rings.get_offsets())
    assert "t-SNE" in figure.axes[0].get_xlabel()


def test_projection_is_repeatable_and_knows_its_limits():
    embeddings = made_answers().embeddings
    assert np.array_equal(project(embeddings).points, project(embeddings).points)
    few = project(embeddings[:29])
    assert "of variance" in few.axes[0]
    for strange in (np.ones((40, 8)), np.zeros((40, 8)), np.ones((1, 8)), np.eye(2, 8)):
        assert np.isfinite(project(strange.astype(np.float32)).points).all()
    assert len(sample(10)) == 10
    assert len(set(sample(5000))) == MOST_POINTS
    assert np.array_equal(sample(5000), sample(5000))


def test_many_points_are_pixels_and_text_stays_text():
    for count, pixels in ((25, False), (401, True)):
        made = made_answers(count)
        drawn = svg(embedding_map(made.embeddings, made.targets, made.targets, NAMES))
        assert ("<image" in drawn) == pixels
        assert ">daisy</text>" in drawn
        assert len(drawn) < 100_000


def test_colour_is_never_the_only_sign():
    signs = [series(position) for position in range(8)]
    assert len({sign.marker for sign in signs}) == 8
    assert len({(sign.marker, sign.dashes, sign.colour) for sign in map(series, range(56))}) == 56
    for sign in signs:
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(sign.colour))
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert 1.05 / (luminance + 0.05) > 2.1
        assert (luminance + 0.05) / 0.058 > 3


def test_names_are_text_whatever_they_are():
    matrix = np.diag([1, 1, 1, 1])
    plot = Plot("matrix", drawing.confusion_matrix(matrix, NAMES), f"a {NAMES[2]}\" onload='x'")
    element = inline_svg(plot)
    assert "<script" not in element
    assert "onload='" not in element
    assert "http" not in element
    root = ET.fromstring(element)  # noqa: S314  (our own)
    assert root.get("role") == "img"
    assert root.get("aria-label") == plot.alt
    assert {"$rose_", "黄水仙", label(NAMES[2])} <= set(root.itertext())
    assert "var(--ink" in element
    assert INK + ";" not in element.replace(f", {INK})", "")
    assert label("a\nb\u202e\ud800c") == "a b c"


def test_same_figure_same_svg_and_ids_are_its_own(answers):
    first, second = (svg(drawing.reliability(answers.probabilities, answers.targets)) for _ in range(2))
    assert first == second
    ids = []
    for name in ("one", "two"):
        root = ET.fromstring(inline_svg(Plot(name, drawing.learning_curves(HISTORY), "")))  # noqa: S314
        ids += [element.get("id") for element in root.iter() if element.get("id")]
        used = {element.get("href")[1:] for element in root.iter() if element.get("href")}
        assert used <= set(ids)
    assert len(ids) == len(set(ids))


def test_threads_draw_at_once_and_settings_stay():
    before, results, problems = dict(mpl.rcParams), [], []

    def draw():
        try:
            results.append(svg(drawing.learning_curves(HISTORY)))
        except Exception as error:  # noqa: BLE001  (told below)
            problems.append(error)

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(set(results)) == 1
    assert dict(mpl.rcParams) == before
    assert not Gcf.figs


def test_plots_are_written(tmp_path, answers):
    evaluation = SimpleNamespace(answers={"torch": answers, "int8": answers}, bundle=SimpleNamespace(class_names=NAMES))
    written = write_plots(tmp_path, HISTORY, evaluation)
    assert sorted(tmp_path.rglob("*.*")) == sorted(written)
    names = {path.stem for path in written}
    assert names == {plot.name for plot in answer_plots(answers, NAMES)} | {"learning-curves", "learning-rate"}
    for path in written:
        if path.suffix == ".png":
            Image.open(path).verify()
        else:
            ET.parse(path)  # noqa: S314
    assert len(write_plots(tmp_path, [], evaluation)) == len(written) - 4
