"""``flowers export --web``: write the page as a static site and say how to try it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def check_web(target: Path | None) -> None:
    """Refuse a site that cannot be written before other exports take minutes."""
    from flowercli.export.web import check_request

    if target is not None:
        check_request(target)


def export_web(model: str, target: Path, *, json_output: bool) -> None:
    """Write the site of a bundle, given by path or by the name of one that ships, and print what it is."""
    from flowercli.cli.output import note, print_json, print_table
    from flowercli.export.web import write_site
    from flowercli.models import load_model

    site = write_site(load_model(model), target)
    if json_output:
        print_json(site.as_dict())
        return
    kinds = {"model/": "the model", "vendor/": "onnxruntime for browsers", "": "the page"}
    sizes = dict.fromkeys(kinds, 0)
    for name, size in site.sizes.items():
        sizes[next(prefix for prefix in kinds if name.startswith(prefix))] += size
    rows = [(f"{target}/{prefix}", what, f"{sizes[prefix] / 1e6:.2f} MB") for prefix, what in kinds.items()]
    rows.append(("", "altogether", f"{site.size / 1e6:.2f} MB"))
    print_table(("Folder", "What", "Size"), rows, title=str(target), left=("What",), paths=("Folder",))
    note("Any host can serve the folder, below any path. Pictures stay in the browser.")
    note(f"Try it: python -m http.server -d {shlex.quote(str(target))}   and open http://localhost:8000")
