"""The files of the page, by URL path: for ``flowers serve``, and for a static site."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.bundle import CONFIG, ONNX, PORTABLE, Bundle, to_json
from flowercli.inference.session import choose_graph
from flowercli.serving.page import runtime

if TYPE_CHECKING:
    from flowercli.inference.classifier import Classifier

SITE = Path(__file__).with_name("site")
MODEL = "/model"
VENDOR = "/vendor"
# The service worker.
OFFLINE = "/offline.js"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
# Of the section 'flowers' of config.json; the rest is for people and for training, and half of the file.
NEEDED = ("format_version", "rejection_threshold", "scientific_names")


@dataclass(frozen=True)
class PageFile:
    """One file of the page: its bytes, and the value of its ``Content-Type``."""

    content: bytes
    media_type: str


def served_page(classifier: Classifier, *, key: bool = False) -> Mapping[str, PageFile]:
    """Return the files of the page as they are served beside ``/v1/classify``, which may ask for a key."""
    only = classifier.answerable if classifier.is_restricted else None
    return page_files(classifier.bundle, server=True, key=key, only=only)


def page_files(
    bundle: Bundle, *, server: bool = False, key: bool = False, only: Sequence[str] | None = None
) -> Mapping[str, PageFile]:
    """Return the files of the page for a bundle by URL path; ``/`` is the page itself.

    Args:
        bundle: a folder or a lone ``.onnx``; the page runs the graph that packages take.
        server: whether they are served beside ``/v1/classify``, so that the page may offer it.
        key: whether ``/v1/classify`` asks for a key, so that the page asks its user.
        only: the class names that may be answered; all without them.

    Raises:
        BundleError: the bundle has no graph, or an altered one.
    """
    graph = choose_graph(bundle, PORTABLE)
    name = ONNX if bundle.is_lone_onnx else graph.name
    contents = {f"/{path.name}": path.read_bytes() for path in sorted(SITE.iterdir())}
    contents["/"] = contents.pop("/index.html")
    contents[f"{MODEL}/{name}"] = graph.read_bytes()
    contents[f"{MODEL}/{CONFIG}"] = to_json(page_config(bundle)).encode()
    if runtime.is_there():
        contents |= _runtime_files()
    settings = {"server": server, "key": key, "only": only, **_model_settings(contents, f"{MODEL}/{name}")}
    contents["/page.json"] = json.dumps(settings, indent=2).encode()
    contents[OFFLINE] = _offline(contents)
    return {path: PageFile(content, _media_type(path)) for path, content in contents.items()}


def page_config(bundle: Bundle) -> dict[str, Any]:
    """Return the part of ``config.json`` that answering needs."""
    return {**bundle.config, "flowers": {key: bundle.section[key] for key in NEEDED if key in bundle.section}}


def _runtime_files() -> dict[str, bytes]:
    plain = {name: (runtime.FOLDER / name).read_bytes() for name in (runtime.SCRIPT, runtime.LICENSE)}
    return {f"{VENDOR}/{name}": content for name, content in {**plain, runtime.WASM: runtime.wasm()}.items()}


def _offline(contents: Mapping[str, bytes]) -> bytes:
    """Return the service worker, which begins with all other files and their hashes, and is another if one is.

    The hashes are those of Subresource Integrity (W3C).
    """
    others = {path: content for path, content in sorted(contents.items()) if path != OFFLINE}
    hashes = {f".{path}": b64encode(hashlib.sha256(content).digest()).decode() for path, content in others.items()}
    files = json.dumps({path: f"sha256-{value}" for path, value in hashes.items()}, indent=2)
    version = hashlib.sha256(contents[OFFLINE] + files.encode()).hexdigest()[:16]
    return f'const VERSION = "{version}";\nconst FILES = {files};\n'.encode() + contents[OFFLINE]


def _model_settings(contents: Mapping[str, bytes], graph: str) -> dict[str, Any]:
    """Return what the page must know before it loads anything: addresses relative to its own, and sizes."""
    wasm, script = f"{VENDOR}/{runtime.WASM}", f"{VENDOR}/{runtime.SCRIPT}"
    available = wasm in contents
    return {
        "config": f".{MODEL}/{CONFIG}",
        "graph": {"url": f".{graph}", "bytes": len(contents[graph])},
        "runtime": {"script": f".{script}", "wasm": f".{wasm}", "bytes": len(contents[wasm])} if available else None,
    }


def _media_type(path: str) -> str:
    return MEDIA_TYPES.get(Path(path).suffix, MEDIA_TYPES[".html"] if path == "/" else "text/plain; charset=utf-8")
