"""What a server needs that does not have this package: a copy of the modules that answer, and its requirements."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

PACKAGE = Path(__file__).parent
# The part of this package that answers needs.
MODULES = (
    "__init__.py",
    "atomic.py",
    "bundle.py",
    "description.py",
    "errors.py",
    "graph_file.py",
    "inference",
    "installation.py",
    "json_text.py",
    "onnxruntime_quietly.py",
    "plain_file.py",
    "shown.py",
)
ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")


def copy_code(folder: Path) -> Path:
    """Copy the modules that answer into ``folder``, as a package of the same name, and return its path."""
    code = folder / PACKAGE.name
    code.mkdir()
    for name in MODULES:
        source = PACKAGE / name
        if source.is_dir():
            shutil.copytree(source, code / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, code / name)
    return code


def pinned(*packages: str) -> list[str]:
    """Return requirements at the versions of this environment."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in packages]


def pinned_onnxruntime() -> str:
    """Return the requirement of onnxruntime at the version of this environment.

    On a server the plain build is enough, and much smaller, whichever of the two is installed here.
    """
    installed = {name: version_of(name) for name in ONNXRUNTIME}
    version = next((version for version in installed.values() if version), None)
    return f"onnxruntime=={version}" if version else "onnxruntime"


def version_of(package: str) -> str | None:
    """Return the installed version of a distribution, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
