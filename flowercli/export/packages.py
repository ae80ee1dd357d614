"""What a bundle is packed into for others, each in a new folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flowercli.atomic import new_folder
from flowercli.bundle import PORTABLE, Bundle
from flowercli.errors import UsageError, needs_extra
from flowercli.export.check import Check, require_accuracy
from flowercli.export.delivery import write_delivery
from flowercli.export.package import Options, Package, Packed
from flowercli.export.triton import require_backend, write_repository
from flowercli.export.web import require_runtime, write_site
from flowercli.inference.session import choose_graph
from flowercli.shown import in_shell


def _write_mlflow(bundle: Bundle, target: Path, _options: Options) -> Packed:
    with needs_extra("serve"), new_folder(target) as folder:
        from flowercli.serving.mlflow.save import save_mlflow_model

        save_mlflow_model(choose_graph(bundle, PACKAGES["mlflow"].graphs), folder)
    return Packed(target, (f"Now: mlflow models serve --env-manager local --model-uri {in_shell(target)}",))


# By option. A delivery has the graph that `classify` runs on a CPU, so that its answers are the same.
PACKAGES = {
    "mlflow": Package(_write_mlflow, graphs=PORTABLE[::-1]),
    "delivery": Package(write_delivery, graphs=PORTABLE),
    "triton": Package(write_repository, check=require_backend),
    "web": Package(write_site, check=require_runtime),
}


def require_possible(targets: Mapping[str, Path], options: Options, output: Path | None = None) -> None:
    """Refuse packages that cannot be made, folders that exist, and the same one twice, before the work starts.

    Raises:
        UsageError: a folder cannot be made, or there is no such backend.
        ExportError: this install lacks what a package is made of.
    """
    seen: set[Path] = set()
    for folder in filter(None, (output, *targets.values())):
        if folder.exists() or folder.resolve() in seen:
            raise UsageError(f"{folder} exists already.", hint="Remove it, or give another folder.")
        seen.add(folder.resolve())
    for name in targets:
        PACKAGES[name].check(options)


def write_packages(
    bundle: Bundle, targets: Mapping[str, Path], options: Options, say: Callable[[str], None]
) -> tuple[list[Check], dict[str, Packed]]:
    """Write packages of a bundle, after holding graphs to what the bundle records of them.

    Args:
        bundle: a folder or a lone ``.onnx``; no torch weights are needed.
        targets: a new folder for each of some of ``PACKAGES``, after :func:`require_possible`.
        options: what is asked for besides.
        say: called with what is being done.

    Returns:
        How the packed graphs compared with torch when they were exported, and nothing where that is not recorded; and
        the packages by name.

    Raises:
        LostAccuracyError: a graph lost more than is allowed. Nothing is written.
        BundleError: there is no graph.
    """
    graphs = {name: choose_graph(bundle, found).name for name in targets if (found := PACKAGES[name].graphs)}
    # Of a model that was taught, they are figures of what it was before.
    records = {} if "taught" in bundle.section else bundle.section.get("exports", {})
    checks = [Check(**records[graph]) for graph in dict.fromkeys(graphs.values()) if graph in records]
    require_accuracy(checks, options.max_drop)
    packed = {}
    for name, target in targets.items():
        if name in graphs:
            say(f"Packing {graphs[name]} for {name}")
        packed[name] = PACKAGES[name].write(bundle, target, options)
    return checks, packed
