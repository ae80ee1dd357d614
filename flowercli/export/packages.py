"""What a bundle is packed into for others, each in a new folder of its own: an MLflow model, a delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowercli.atomic import new_folder
from flowercli.bundle import ONNX, ONNX_INT8
from flowercli.errors import UsageError, needs_extra
from flowercli.export.check import Check, require_accuracy
from flowercli.inference.session import choose_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from flowercli.bundle import Bundle


@dataclass(frozen=True)
class Package:
    """One kind of package: the graphs it takes, the best first, and what writes it into an empty folder."""

    graphs: tuple[str, ...]
    write: Callable[[Bundle, Path, Path], None]


def _write_mlflow(_bundle: Bundle, graph: Path, folder: Path) -> None:
    with needs_extra("serve"):
        from flowercli.serving.mlflow_save import save_mlflow_model

        save_mlflow_model(graph, folder)


def _write_delivery(bundle: Bundle, graph: Path, folder: Path) -> None:
    from flowercli.export.delivery import write_delivery

    write_delivery(bundle, graph, folder)


# By option. A delivery has the graph that `classify` runs on a CPU, so that its answers are the same.
PACKAGES = {
    "mlflow": Package((ONNX, ONNX_INT8), _write_mlflow),
    "delivery": Package((ONNX_INT8, ONNX), _write_delivery),
}


def require_new(folders: Iterable[Path | None]) -> None:
    """Refuse folders that exist, and the same one twice, before the work starts.

    Raises:
        UsageError: one cannot be made.
    """
    seen: set[Path] = set()
    for folder in folders:
        if folder is None:
            continue
        if folder.exists() or folder.resolve() in seen:
            raise UsageError(f"{folder} exists already.", hint="Remove it, or give another folder.")
        seen.add(folder.resolve())


def write_packages(
    bundle: Bundle, targets: Mapping[str, Path], max_drop: float | None, say: Callable[[str], None]
) -> list[Check]:
    """Write packages of a bundle, after holding each graph to what the bundle records of it.

    Args:
        bundle: a folder or a lone ``.onnx``; no torch weights are needed.
        targets: a new folder for each of some of ``PACKAGES``.
        max_drop: points of validation accuracy that a graph may have lost against torch when it was exported;
            without it, what :meth:`Check.keeps_accuracy` allows.
        say: called with what is being done.

    Returns:
        How the packed graphs compared with torch when they were exported; nothing where that is not recorded.

    Raises:
        LostAccuracyError: a graph lost more. Nothing is written.
        BundleError: there is no graph.
    """
    graphs = {name: choose_graph(bundle, PACKAGES[name].graphs) for name in targets}
    records = bundle.section.get("exports", {})
    packed = dict.fromkeys(graph.name for graph in graphs.values())
    checks = [Check.from_record(records[name]) for name in packed if name in records]
    require_accuracy(checks, max_drop)
    for name, target in targets.items():
        say(f"Packing {graphs[name].name} for {name}")
        with new_folder(target) as folder:
            PACKAGES[name].write(bundle, graphs[name], folder)
    return checks
