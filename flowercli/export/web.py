"""``flowers export --web``: the page as a static site, which any host can serve, below any path; no torch here."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.atomic import new_folder
from flowercli.errors import ExportError
from flowercli.export.package import Options, Packed
from flowercli.serving.page import runtime
from flowercli.serving.page.files import page_files

if TYPE_CHECKING:
    from flowercli.bundle import Bundle

PAGE = "/"
INDEX = "/index.html"
KINDS = {"model/": "the model", "vendor/": "onnxruntime for browsers", "": "the page"}


def require_runtime(_options: Options) -> None:
    """Refuse a site that would not answer, before any work is done.

    Raises:
        ExportError: this install was built without what answers in a browser.
    """
    if not runtime.is_there():
        message = "This install has no onnxruntime for browsers: there was no npm, or no network, when it was built."
        raise ExportError(message, hint=runtime.HINT)


def write_site(bundle: Bundle, target: Path, _options: Options) -> Packed:
    """Write the page of a bundle into the new folder ``target``, after :func:`require_runtime`.

    Args:
        bundle: a folder or a lone ``.onnx``; it needs no torch weights.
        target: it appears under its name only when it is complete.

    Raises:
        BundleError: the bundle has no graph, or an altered one.
    """
    files = page_files(bundle)
    contents = {(INDEX if path == PAGE else path).removeprefix("/"): file.content for path, file in files.items()}
    with new_folder(target) as folder:
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    sizes = {name: len(content) for name, content in sorted(contents.items())}
    return Packed(
        target,
        (
            "Any host can serve the folder, below any path. Pictures stay in the browser.",
            f"Try it: python -m http.server -d {shlex.quote(str(target))}   and open http://localhost:8000",
        ),
        {"site": str(target), "size": sum(sizes.values()), "files": sizes},
        ("Folder", "What", "Size"),
        [*_rows(target, sizes)],
        left=("What",),
        paths=("Folder",),
    )


def _rows(target: Path, sizes: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    by_kind = dict.fromkeys(KINDS, 0)
    for name, size in sizes.items():
        by_kind[next(prefix for prefix in KINDS if name.startswith(prefix))] += size
    for prefix, what in KINDS.items():
        yield f"{target}/{prefix}", what, f"{by_kind[prefix] / 1e6:.2f} MB"
    yield "", "altogether", f"{sum(sizes.values()) / 1e6:.2f} MB"
