"""How this program was installed, and the commands that add to it: what helps under pip does nothing under pipx.

All that is needed to find out is imported when somebody wants to know: no answer about a picture waits for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from flowercli.shown import in_shell

PACKAGE = "flowercli"
# What these programs write into the environments that they make.
PIPX, UV_TOOL = "pipx_metadata.json", "uv-receipt.toml"


class Origin(NamedTuple):
    """Where the package was installed from: an address, or a folder; neither where it came from an index.

    ``branch`` is the address of a repository without the commit, unless that was asked for.
    """

    url: str | None = None
    folder: str | None = None
    editable: bool = False
    branch: str | None = None


def add_extra(extra: str) -> str:
    """Return the command that installs what an extra needs, beside what is there."""
    if _has(PIPX):
        return f"pipx inject {PACKAGE} {_requirement([extra])}"
    if _has(UV_TOOL):  # It makes the environment anew: what was asked for before has to be asked for again.
        return f"uv tool install {_requirement([*_extras_of_uv(), extra])}"
    editable = "-e " if _origin().editable else ""
    return f"{_pip('install')} {editable}{_requirement([extra])}"


def upgrade() -> str:
    """Return the command that installs a newer version."""
    origin = _origin()
    before = f"git -C {in_shell(origin.folder)} pull && " if origin.folder else ""
    if _has(PIPX):
        return f"{before}pipx upgrade {PACKAGE}"
    if _has(UV_TOOL):
        # Of a folder it takes what it built before, unless the version is another.
        anew = f"--reinstall-package {PACKAGE} " if origin.folder else ""
        return f"{before}uv tool upgrade {anew}{PACKAGE}"
    if origin.folder:
        return f"{before}{_pip('install')} --upgrade {'-e ' if origin.editable else ''}{in_shell(origin.folder)}"
    if origin.branch:
        return f"{_pip('install')} --upgrade {in_shell(f'{PACKAGE} @ {origin.branch}')}"
    if origin.url:
        return f"{_pip('install')} FILE   (a newer one than {in_shell(origin.url)})"
    return f"{_pip('install')} --upgrade {PACKAGE}"


def install(*arguments: str) -> str:
    """Return the command that installs packages, given as pip takes them, into the environment of this program."""
    return " ".join([_pip("install"), *map(in_shell, arguments)])


def uninstall(*packages: str) -> str:
    """Return the command that removes packages from the environment of this program."""
    return " ".join([_pip("uninstall"), *packages])


def _pip(verb: str) -> str:
    """Return how pip is called for this environment, up to its verb."""
    if _has(PIPX):
        return f"pipx runpip {PACKAGE} {_sure(verb)}"
    import importlib.util

    if _has(UV_TOOL) or importlib.util.find_spec("pip") is None:
        return f"uv pip {verb} --python {in_shell(sys.prefix)}"
    return f"pip {_sure(verb)}"


def _sure(verb: str) -> str:
    return f"{verb} -y" if verb == "uninstall" else verb


def _requirement(extras: list[str]) -> str:
    """Return the package with extras, from where it was installed before, for a shell."""
    origin, listed = _origin(), ",".join(dict.fromkeys(extras))
    if origin.folder and not _has(PIPX):
        return in_shell(f"{origin.folder}[{listed}]")
    # pipx takes a folder for a package of its own to inject; the name says that it is the one that is there.
    address = f" @ {origin.url}" if origin.url else ""
    return in_shell(f"{PACKAGE}[{listed}]{address}")


def _has(receipt: str) -> bool:
    return (Path(sys.prefix) / receipt).is_file()


def _origin() -> Origin:
    """Read what pip noted (PEP 610)."""
    import importlib.metadata
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        text = importlib.metadata.distribution(PACKAGE).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        text = None
    noted: dict[str, Any] = json.loads(text) if text else {}
    url = noted.get("url")
    if url is None:
        return Origin()
    below = f"#subdirectory={noted['subdirectory']}" if noted.get("subdirectory") else ""
    if version := noted.get("vcs_info"):
        branch, commit = f"{version['vcs']}+{url}", f"@{version['commit_id']}"
        asked = f"@{version['requested_revision']}" if version.get("requested_revision") else ""
        return Origin(f"{branch}{asked or commit}{below}", branch=f"{branch}{asked}{below}")
    folder = url2pathname(urlsplit(url).path) if "dir_info" in noted else None
    return Origin(url, folder, bool(noted.get("dir_info", {}).get("editable")))


def _extras_of_uv() -> list[str]:
    import tomllib

    receipt = tomllib.loads((Path(sys.prefix) / UV_TOOL).read_text(encoding="utf-8"))
    asked = receipt.get("tool", {}).get("requirements", [])
    return [extra for one in asked if one.get("name") == PACKAGE for extra in one.get("extras", [])]
