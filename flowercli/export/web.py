"""``flowers export --web``: the page as a static site, which any host can serve, below any path; no torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowercli.atomic import new_folder
from flowercli.errors import ExportError, UsageError
from flowercli.serving.page import runtime
from flowercli.serving.page.files import page_files

if TYPE_CHECKING:
    from pathlib import Path

    from flowercli.bundle import Bundle

PAGE = "/"
INDEX = "/index.html"


@dataclass(frozen=True)
class Site:
    """A site as it was written: where, and the size in bytes of each file."""

    path: Path
    sizes: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return {"site": str(self.path), "size": self.size, "files": self.sizes}


def check_request(target: Path) -> None:
    """Refuse what cannot be written, before any work is done.

    Raises:
        UsageError: the folder exists.
        ExportError: this install was built without what answers in a browser.
    """
    if target.exists():
        raise UsageError(f"{target} exists already.", hint="Remove it, or give another folder to --web.")
    if not runtime.is_there():
        message = "This install has no onnxruntime for browsers: there was no npm, or no network, when it was built."
        raise ExportError(message, hint=runtime.HINT)


def write_site(bundle: Bundle, target: Path) -> Site:
    """Write the page of a bundle into the new folder ``target``.

    Args:
        bundle: a folder or a lone ``.onnx``; it needs no torch weights.
        target: it appears under its name only when it is complete.

    Raises:
        UsageError: the folder exists.
        ExportError: this install was built without what answers in a browser.
        BundleError: the bundle has no graph, or an altered one.
    """
    check_request(target)
    files = page_files(bundle)
    contents = {(INDEX if path == PAGE else path).removeprefix("/"): file.content for path, file in files.items()}
    with new_folder(target) as folder:
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    return Site(target, {name: len(content) for name, content in sorted(contents.items())})
