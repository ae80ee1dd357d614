"""How much processor time the control groups of Linux give this process, as containers and systemd set it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc/self")


class Quota(NamedTuple):
    """A limit in cores' worth of time, not always a whole number, and the file that sets it."""

    cores: float
    file: Path


def cpu_quota(proc: Path = PROC) -> Quota | None:
    """Return the lowest quota of the groups that a process is in, versions 1 and 2; ``None`` without one.

    A group is bound by its ancestors as well, so each is read up to the root of what is mounted here.

    Args:
        proc: the folder of the process in ``/proc``, with its ``cgroup`` and ``mountinfo``.
    """
    try:
        memberships = _memberships((proc / "cgroup").read_text(encoding="utf-8"))
        mounts = (proc / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas = [quota for line in mounts for folder in _folders(line, memberships) if (quota := _read(folder))]
    return min(quotas, key=lambda quota: quota.cores, default=None)


def _memberships(text: str) -> dict[str, str]:
    """Return the path of the process's group by controller; that of version 2 has the name ``""``."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _folders(mount: str, memberships: dict[str, str]) -> Iterator[Path]:
    """Yield the folder of the process's group and its ancestors, if this line of mountinfo mounts them."""
    place, _, kind = mount.partition(" - ")
    system, _, options = kind.split(" ", 2)
    # "1:2 3:4": the third word is what of the hierarchy is mounted, the fourth where.
    root, where = place.split(" ")[3:5]
    if system == "cgroup2":
        path = memberships.get("")
    elif system == "cgroup" and "cpu" in options.split(","):
        path = memberships.get("cpu")
    else:
        return
    if path is not None:
        folder = Path(where) / _within(path, root)
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(where))


def _within(path: str, root: str) -> PurePosixPath:
    try:
        return PurePosixPath(path).relative_to(root)
    except ValueError:  # In a container, the path can be the host's, which is not mounted here.
        return PurePosixPath()


def _read(folder: Path) -> Quota | None:
    try:
        if (file := folder / "cpu.max").is_file():
            quota, period = file.read_text(encoding="ascii").split()
        else:
            file = folder / "cpu.cfs_quota_us"
            quota, period = (path.read_text(encoding="ascii") for path in (file, folder / "cpu.cfs_period_us"))
        limit = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number: no limit.
        return None
    return Quota(limit, file) if limit > 0 else None
