"""Compare a graph with the description of its bundle when it is opened: what does not fit would be answered wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.errors import BundleError
from flowercli.inference.preprocess import INPUT

if TYPE_CHECKING:
    import onnxruntime as ort

    from flowercli.bundle import Bundle
    from flowercli.inference.preprocess import PreprocessSpec
    from flowercli.inference.session import Session

EXPORT = "Fetch it again, or export it: flowers export BUNDLE --onnx --int8"
# A size that a graph leaves open is a name, or nothing.
Shape = tuple[int | None, ...]


def check_graph(bundle: Bundle, spec: PreprocessSpec, session: Session) -> None:
    """Compare names, types and sizes of a session's inputs and outputs with what the bundle says.

    Raises:
        BundleError: they do not fit each other.
    """
    size = bundle.section.get("embedding_size")
    wanted: dict[str, tuple[str, Shape]] = {
        INPUT: ("tensor(uint8)", (None, spec.height, spec.width, 3)),
        "probabilities": ("tensor(float)", (None, len(bundle.class_names))),
        "embedding": ("tensor(float)", (None, size)),
        "known": ("tensor(float)", (None, 1)),
    }
    inputs = session.get_inputs()
    found = {value.name: value for value in (*inputs, *session.get_outputs())}
    if [value.name for value in inputs] != [INPUT] or not {"probabilities", "embedding"} <= found.keys():
        message = f"The graph of {bundle.path} takes {_listed(inputs)} and gives {_listed(session.get_outputs())}."
        raise BundleError(message, hint=EXPORT)
    for name, (kind, shape) in wanted.items():
        value = found.get(name)
        if value is not None and (value.type != kind or not _fits(value.shape, shape)):
            message = (
                f"The graph of {bundle.path} does not fit its description: {name} is {value.type} {value.shape}, "
                f"not {kind} {['N' if side is None else side for side in shape]}."
            )
            raise BundleError(message, hint=EXPORT)


def _fits(found: list[int | str | None], wanted: Shape) -> bool:
    return len(found) == len(wanted) and all(
        there == here or here is None or not isinstance(there, int) for there, here in zip(found, wanted, strict=True)
    )


def _listed(values: list[ort.NodeArg]) -> str:
    return ", ".join(ascii(value.name)[1:-1] for value in values[:5]) or "nothing"
