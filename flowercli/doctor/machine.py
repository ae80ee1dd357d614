"""The processor: what it can do, and how many of its cores are used and why."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from flowercli.doctor.checks import Check, Status
from flowercli.inference.cpu import FEATURES, THREADS_VARIABLE, Cores, cpu_flags, cpu_name, find_cores

if TYPE_CHECKING:
    from collections.abc import Iterator

MORE_TIME = "docker run --cpus={total} …   (Kubernetes: resources.limits.cpu; systemd: CPUQuota={percent}%)"
MORE_CORES = "taskset -c 0-{last} flowers …   (in a container: docker run --cpuset-cpus=0-{last} …)"


def cpu() -> Iterator[Check]:
    """Yield the instructions that matter and the cores."""
    yield _features()
    yield _cores(find_cores())


def _features() -> Check:
    flags, name = cpu_flags(), cpu_name() or platform.processor() or platform.machine()
    if not flags:
        text = f"{name}; which instructions it has is only known of x86 on Linux"
        return Check("features", Status.NOTE, text, values={"name": name, "features": None})
    has = {feature: bool(any_of & flags) for feature, any_of in FEATURES.items()}
    shown = ", ".join(feature if there else f"no {feature}" for feature, there in has.items())
    values = {"name": name, "features": has}
    if has["VNNI"]:
        return Check("features", Status.OK, f"{name}: {shown}", values=values)
    text = f"{name}: {shown}; without VNNI the int8 model takes longer"
    return Check("features", Status.NOTE, text, values=values)


def _cores(cores: Cores) -> Check:
    quota = cores.quota
    values = {
        "usable": cores.usable,
        "total": cores.total,
        "affinity": cores.affinity,
        "quota": quota and quota.cores,
        "quota_file": quota and str(quota.file),
        "threads": cores.asked,
        "limited_by": cores.limited_by,
    }
    of = f"{cores.usable} of {cores.total}"
    if cores.limited_by == "threads":
        return Check(
            "cores", Status.OK, f"{of}: {THREADS_VARIABLE} says so", f"unset {THREADS_VARIABLE}", values=values
        )
    if cores.limited_by == "quota" and quota:
        text = f"{of}: the control group's quota is the time of {quota.cores:g} ({quota.file})"
        fix = MORE_TIME.format(total=cores.total, percent=100 * cores.total)
        return Check("cores", Status.WARNING, text, fix, values=values)
    if cores.limited_by == "affinity":
        text = f"{of}: the affinity of this process allows no more (taskset, or a container's set of processors)"
        return Check("cores", Status.WARNING, text, MORE_CORES.format(last=cores.total - 1), values=values)
    return Check("cores", Status.OK, f"{of}: nothing limits them", values=values)
