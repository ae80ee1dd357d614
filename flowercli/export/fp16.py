"""The fp16 version of an exported graph: ``uint8`` in, fp32 out, half precision in between.

Normalisation, head and softmax stay in fp32 (:func:`flowercli.export.graph.float_nodes`), with one cast on each edge
between the two precisions. onnxruntime's own converter puts casts there and back between neighbours that both stay
in fp32, which rounds the probabilities to three digits, and leaves the nodes out of order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import ALWAYS_FLOAT_INPUTS, DEFAULT_OP_BLOCK_LIST

from flowercli.bundle import ONNX, ONNX_FP16, Bundle
from flowercli.errors import ExportError
from flowercli.export.graph import float_nodes, write_model
from flowercli.export.parity import Job, Made

FP16_MAX = float(np.finfo(np.float16).max)
# What has no fp16 form, or makes a float out of nothing.
FLOAT_ONLY = frozenset(DEFAULT_OP_BLOCK_LIST) | frozenset(ALWAYS_FLOAT_INPUTS) | {"Constant", "ConstantOfShape"}
SUFFIXES: dict[int, str] = {TensorProto.FLOAT: ".fp32", TensorProto.FLOAT16: ".fp16"}


def write(job: Job) -> Made:
    """Convert the fp32 graph."""
    job.say("Converting to fp16")
    convert_fp16(job.bundle, job.folder / ONNX, job.folder / ONNX_FP16)
    return Made([job.compared(ONNX_FP16, "fp16")])


def convert_fp16(bundle: Bundle, fp32: Path, target: Path) -> None:
    """Write the fp16 version of an fp32 graph.

    Raises:
        ExportError: the graph branches, which this does not follow.
    """
    proto = onnx.shape_inference.infer_shapes(onnx.load(str(fp32)))
    _Conversion(proto.graph).run()
    write_model(proto, bundle, target)


class _Conversion:
    """One walk through a graph in its order. ``names`` holds, by precision, what each float tensor is called in it."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.nodes: list[NodeProto] = []
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        whole = {name: name for name, tensor in self.constants.items() if tensor.data_type == TensorProto.FLOAT}
        self.names: dict[int, dict[str, str]] = {TensorProto.FLOAT: whole, TensorProto.FLOAT16: {}}
        values = (*graph.value_info, *graph.input, *graph.output)
        self.floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.floats |= whole.keys()
        self.outputs = {value.name for value in graph.output}

    def run(self) -> None:
        """Replace the nodes and initializers of the graph."""
        precise = set(float_nodes(self.graph))
        for node in self.graph.node:
            whole = node.name in precise or node.op_type in FLOAT_ONLY
            self._convert(node, TensorProto.FLOAT if whole else TensorProto.FLOAT16)
        self._replace()

    def _convert(self, node: NodeProto, precision: int) -> None:
        for attribute in node.attribute:
            if attribute.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS}:
                raise ExportError(f"The graph branches ({node.op_type}): fp16 cannot be made of it.")
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = precision
        for position, name in enumerate(node.input):
            if name in self.floats:
                node.input[position] = self._named(name, precision)
        self.nodes.append(node)
        for position, name in enumerate(node.output):
            if name in self.floats:
                node.output[position] = self._produced(name, precision)

    def _produced(self, name: str, precision: int) -> str:
        """Return what the output of a node is called now; one of the graph keeps its name, and so its type."""
        produced = name
        if name in self.outputs and precision == TensorProto.FLOAT16:
            produced += SUFFIXES[precision]
        self.names[precision][name] = produced
        if produced != name:
            self._named(name, TensorProto.FLOAT, name)
        return produced

    def _named(self, name: str, precision: int, cast_name: str | None = None) -> str:
        """Return what the tensor is called in a precision, after making it if it is new in it."""
        names = self.names[precision]
        if name not in names:
            names[name] = cast_name or name + SUFFIXES[precision]
            if name in self.constants:
                values = numpy_helper.to_array(self.constants[name]).clip(-FP16_MAX, FP16_MAX)
                self.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), names[name]))
            else:
                (other,) = SUFFIXES.keys() - {precision}
                source = self.names[other][name]
                cast = helper.make_node("Cast", [source], [names[name]], names[name] + "_cast", to=precision)
                self.nodes.append(cast)
        return names[name]

    def _replace(self) -> None:
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        for whole, parts in ((self.graph.node, self.nodes), (self.graph.initializer, kept)):
            copies = [type(part).FromString(part.SerializeToString()) for part in parts]
            del whole[:]
            whole.extend(copies)
        # The types that inference noted are those of before.
        del self.graph.value_info[:]
