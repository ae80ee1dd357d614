"""Where downloads lie and where they come from: the data directory and the Hub's settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from flowercli.doctor.checks import Check, Status
from flowercli.home import NoHomeError, data_home

# A dataset with its archive, or a backbone with its copy in the Hub's cache.
LITTLE_SPACE = 10**9
HUB = "https://huggingface.co"
TRUE = {"1", "true", "yes", "on"}


def data_directory() -> Iterator[Check]:
    """Yield the path of the data directory, whether it can be written, its size and the space that is left."""
    try:
        path = data_home()
    except NoHomeError as error:
        yield Check(
            "folder", Status.WARNING, error.message.rstrip("."), "export FLOWERS_HOME=DIR", values={"path": None}
        )
        return
    # What does not exist yet is made inside the nearest folder that does.
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    free, size = shutil.disk_usage(there).free, sum(_sizes(path))
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    values = {"path": str(path), "exists": path.exists(), "writable": writable, "free": free, "size": size}
    text = f"{path}: " + (f"{_bytes(size)} in it" if path.exists() else "not made yet") + f", {_bytes(free)} free"
    if not writable:
        yield Check("folder", Status.WARNING, f"{text}; it cannot be written", "export FLOWERS_HOME=DIR", values=values)
    elif free < LITTLE_SPACE:
        fix = "flowers download --list, then flowers download --remove NAME; or export FLOWERS_HOME=DIR"
        yield Check("folder", Status.WARNING, f"{text}: little", fix, values=values)
    else:
        yield Check("folder", Status.OK, f"{text}, can be written", values=values)


def hub() -> Iterator[Check]:
    """Yield which Hub is asked, and whether the network is."""
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    offline, xet = _is_set("HF_HUB_OFFLINE"), not _is_set("HF_HUB_DISABLE_XET")
    values = {"endpoint": _without_login(endpoint), "offline": offline, "xet": xet}
    if endpoint.rstrip("/") != HUB and xet and not offline:
        text = f"{values['endpoint']} (HF_ENDPOINT); transfers through Xet would go past it"
        yield Check("endpoint", Status.WARNING, text, "export HF_HUB_DISABLE_XET=1", values=values)
    else:
        origin = "HF_ENDPOINT" if os.environ.get("HF_ENDPOINT") else "the default"
        yield Check("endpoint", Status.OK, f"{values['endpoint']} ({origin})", values=values)
    if offline:
        text = "offline: HF_HUB_OFFLINE is set, nothing is fetched from the Hub"
        yield Check("network", Status.NOTE, text, "unset HF_HUB_OFFLINE", values={"offline": True})
    else:
        yield Check(
            "network", Status.OK, "used when something is fetched; classifying needs none", values={"offline": False}
        )


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in TRUE


def _without_login(address: str) -> str:
    """Drop a user name and password from an address: what doctor prints is sent to others."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(place, name)).st_size
            except OSError:  # Deleted meanwhile.
                continue


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:  # noqa: PLR2004
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
