"""The exported graph: ``uint8`` pixels in, calibrated probabilities and the embedding out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch
from timm.layers import set_fused_attn, use_fused_attn
from torch import Tensor, nn

from flowercli.bundle import ONNX, Bundle, embeddable_config
from flowercli.description import ONNX_METADATA_KEY
from flowercli.errors import ExportError
from flowercli.export.parity import Job, Made
from flowercli.inference.classifier import OUTPUTS
from flowercli.inference.preprocess import INPUT
from flowercli.shown import first_line
from flowercli.training.model import PixelClassifier, known_of, load_bundle_model

if TYPE_CHECKING:
    from flowercli.training.known import Known
    from flowercli.training.typical import Typical

OPSET = 20
EMBEDDING = OUTPUTS[1]


class DeployedClassifier(nn.Module):
    """The trained model as it is deployed: layout, normalisation, temperature and softmax inside."""

    def __init__(self, model: PixelClassifier, temperature: float, known: Known) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.another, self.nothing, self.share = known.another, known.nothing, known.share
        self.typical = None if known.typical is None else TypicalLogits(known.typical)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Answer about a batch.

        Args:
            pixels: RGB, ``uint8`` ``[N, H, W, 3]``.

        Returns:
            Probabilities ``[N, C]``, embedding ``[N, D]`` and how sure it is that it knows what it sees ``[N, 1]``, all
            ``float32``.
        """
        # TensorRT refuses uint8 in everything but the cast that makes floats of it. And a network traced with its
        # channels last in memory flattens its features with ten nodes of index arithmetic.
        floats = pixels.float().permute(0, 3, 1, 2).contiguous()
        logits, embedding = self.model.answer(self.model.normalised(floats))
        return torch.softmax(logits / self.temperature, dim=1), embedding, self.known(logits, embedding)

    def known(self, logits: Tensor, embedding: Tensor) -> Tensor:
        """Return how sure it is that it knows what it sees ``[N, 1]``, as ``training.known.Known`` computes it."""
        top = logits.max(dim=1, keepdim=True).values
        score = top if self.typical is None else top + self.typical(logits) * self.share
        # Zeros without asking for a shape: TensorRT takes no node that does.
        explanations = [top - top, -(score * self.another.scale + self.another.offset)]
        if self.model.none is not None and self.nothing is not None:
            above = top - self.model.none(embedding)
            explanations.append(-(above * self.nothing.scale + self.nothing.offset))
        return torch.softmax(torch.cat(explanations, dim=1), dim=1)[:, :1]


class TypicalLogits(nn.Module):
    """How typical logits are of their nearest class, as ``training.typical.Typical`` computes it."""

    def __init__(self, typical: Typical) -> None:
        super().__init__()
        means = torch.from_numpy(typical.means)
        self.centre = nn.Buffer(torch.from_numpy(typical.centre))
        self.directions = nn.Buffer(torch.from_numpy(typical.directions))
        self.to_means = nn.Buffer(means.T.contiguous())
        self.half_squares = nn.Buffer((means**2).sum(dim=1) / 2)
        self.half_spread = nn.Buffer(torch.from_numpy(typical.spread)[:, None] / 2)

    def forward(self, logits: Tensor) -> Tensor:
        """Return it ``[N, 1]`` for logits ``[N, C]``."""
        places = (logits - self.centre) @ self.directions
        nearest = (places @ self.to_means - self.half_squares).max(dim=1, keepdim=True).values
        return nearest - (places * places) @ self.half_spread


def load_deployed(bundle: Bundle) -> DeployedClassifier:
    """Rebuild the model of a bundle as it is deployed, in evaluation mode."""
    return DeployedClassifier(load_bundle_model(bundle), bundle.temperature, known_of(bundle)).eval()


def write(job: Job) -> Made:
    """Compare the fp32 graph; it is there, because the others are made from it."""
    return Made([job.compared(ONNX, "fp32")])


def export_fp32(bundle: Bundle, target: Path) -> None:
    """Write the fp32 ONNX of a bundle: one self-contained file with a dynamic batch axis.

    Raises:
        ExportError: torch cannot write this architecture.
    """
    try:
        try:
            proto = _written_by_torch(load_deployed(bundle))
        except torch.onnx.OnnxExporterError:
            with _attention_in_steps():
                proto = _written_by_torch(load_deployed(bundle))
    except torch.onnx.OnnxExporterError as error:
        cause: Exception = error
        while isinstance(cause.__cause__, Exception):  # What torch says itself is how to report it.
            cause = cause.__cause__
        message = f"torch cannot write {bundle.config['architecture']} as ONNX: {first_line(cause)}"
        raise ExportError(message, hint="docs/architectures.md lists those whose export was tried.") from error
    strip_debug_info(proto)
    write_model(proto, bundle, target)


@contextmanager
def _attention_in_steps() -> Iterator[None]:
    """Have timm build attention of matrix products: of torch's one operation the exporter takes only some uses."""
    before = use_fused_attn()
    set_fused_attn(False)
    try:
        yield
    finally:
        set_fused_attn(before)


def _written_by_torch(model: DeployedClassifier) -> onnx.ModelProto:
    height, width = model.model.input_size
    # Two pictures: torch.export takes an axis of size one for a constant.
    example = torch.zeros((2, height, width, 3), dtype=torch.uint8)
    with _quiet_exporter():
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1)}},
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def write_model(proto: onnx.ModelProto, bundle: Bundle, target: Path) -> None:
    """Write an ONNX model that carries the description of its bundle."""
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    entries[ONNX_METADATA_KEY] = embeddable_config(bundle.config)
    onnx.helper.set_model_props(proto, entries)
    onnx.save_model(proto, str(target))


def float_nodes(graph: onnx.GraphProto) -> list[str]:
    """Name the nodes that stay in fp32: everything before the first convolution, and the head.

    The head, all that comes after the embedding, is a thousandth of the work and decides everything.
    """
    nodes = graph.node
    first = next(index for index, node in enumerate(nodes) if node.op_type == "Conv")
    last = next(index for index, node in enumerate(nodes) if EMBEDDING in node.output)
    return [node.name for index, node in enumerate(nodes) if index < first or index > last]


def strip_debug_info(proto: onnx.ModelProto) -> None:
    """Drop the exporter's notes on each node: they hold paths of this machine and stack traces."""
    del proto.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del proto.graph.metadata_props[:]
    proto.graph.doc_string = ""
    proto.doc_string = ""


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep torch's exporter from talking about its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
