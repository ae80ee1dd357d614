"""Graphs from elsewhere: what is more than a plain graph is refused before onnxruntime sees it."""

from __future__ import annotations

import numpy as np
import pytest

from flowercli.errors import BundleError
from flowercli.graph_file import check_file
from flowercli.models import load_model

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

from onnx import TensorProto, helper, numpy_helper
from support.colour_model import write_colours, write_graph

FLOATS = TensorProto.FLOAT
IDENTITY = helper.make_node("Identity", ["x"], ["y"])


def graph_of(nodes, initializers=()):
    values = [helper.make_tensor_value_info(name, FLOATS, [1]) for name in ("x", "y")]
    return helper.make_graph(nodes, "graph", values[:1], values[1:], list(initializers))


def loop():
    """Return a loop that never ends."""
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    turn = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    more = helper.make_tensor_value_info("d", TensorProto.BOOL, [])
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "body", [turn, condition], [more])
    return helper.make_node("Loop", ["", "true"], [], body=body)


def outside():
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def hidden(tensor):
    return helper.make_node("Constant", [], ["w"], value=tensor)


def functions(model):
    model.functions.append(
        helper.make_function(
            "mine", "F", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])], model.opset_import
        )
    )


GRAPHS = {
    "loop": (graph_of([loop(), IDENTITY]), "control flow"),
    "loop in a name of its own": (
        graph_of([helper.make_node("Any", [], [], body=graph_of([IDENTITY]))]),
        "control flow",
    ),
    "file beside it": (graph_of([IDENTITY], [outside()]), "data in other files"),
    "file beside it, in a constant": (graph_of([hidden(outside()), IDENTITY]), "data in other files"),
    "stranger": (graph_of([helper.make_node("Run", ["x"], ["y"], domain="evil")]), "an unknown domain"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_more_than_a_plain_graph_is_refused(name, tmp_path):
    graph, said = GRAPHS[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(BundleError, match=said):
        check_file(path)


def test_functions_are_refused(tmp_path):
    model = helper.make_model(graph_of([IDENTITY]))
    functions(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="functions of its own"):
        check_file(tmp_path / "model.onnx")


def test_a_tag_with_bits_that_others_drop_is_no_graph(tmp_path):
    plain = helper.make_model(GRAPHS["loop"][0]).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(plain.replace(b"\x0a", b"\x8a\x80\x80\x80\x10"))
    with pytest.raises(BundleError, match="not a readable ONNX"):
        check_file(tmp_path / "model.onnx")


def test_a_loop_never_reaches_onnxruntime(tmp_path, run):
    model = helper.make_model(GRAPHS["loop"][0])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    result = run("classify", "--model", tmp_path / "model.onnx", "x.jpg")
    assert result.code == 1
    assert "control flow" in result.err


@pytest.mark.parametrize("content", [b"", b"hello", b"\x3a\xff\xff\xff\xff\x0f", b"\x80" * 40, bytes(range(256)) * 4])
def test_what_is_no_graph_is_left_to_onnxruntime_or_refused(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    try:
        check_file(path)
    except BundleError as error:
        assert "not a readable ONNX" in error.message


@pytest.mark.parametrize("name", ["flowers5", "garden"])
def test_graphs_of_ours_are_plain(name, tmp_path):
    copy = tmp_path / "model.onnx"
    copy.write_bytes(load_model(name).file("model.int8.onnx").read_bytes())
    check_file(copy)


def answered(path, change):
    """Return the graph of colours with another last node: of what is known it gives what this constant makes of it."""
    write_graph(path, known=True)
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "before"
    change(model.graph)
    onnx.save(model, path)
    return path


def times(value):
    def change(graph):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), "factor"))
        graph.node.append(helper.make_node("Mul", ["before", "factor"], ["known"]))

    return change


def failing(graph):
    graph.initializer.append(numpy_helper.from_array(np.array([7, 1]), "shape"))
    # Another size only with pixels: onnxruntime would find out before. Its messages have the name as it is.
    graph.node.append(helper.make_node("Reshape", ["before", "shape"], ["known"], name="\x1b]0;evil\x07"))


@pytest.mark.parametrize(
    ("change", "words"),
    [(times(np.nan), "no probabilities"), (times(np.inf), "no probabilities"), (times(7), "no probabilities"),
     (times(-1), "no probabilities"), (failing, "cannot be run")],
)  # fmt: skip
def test_what_a_graph_gives_is_a_probability_or_refused(change, words, tmp_path, run):
    pictures = write_colours(tmp_path)
    result = run("classify", pictures[0], "--json", "--model", answered(tmp_path / "model.onnx", change))
    assert (result.code, result.out) == (1, "")
    assert words in result.err
    assert not {"\x1b", "\x07"} & set(result.err)
