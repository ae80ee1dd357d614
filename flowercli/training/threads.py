"""On how many threads torch computes."""

from __future__ import annotations

import torch

from flowercli.inference.cpu import find_cores


def honour_limits() -> None:
    """Let torch compute on as many threads as ``FLOWERS_THREADS`` says, and no more than a container's quota allows.

    Raises:
        UsageError: the variable is not a whole number of at least one.
    """
    cores = find_cores()
    torch.set_num_threads(cores.asked or min(torch.get_num_threads(), cores.usable))


def share_cores(processes: int) -> None:
    """Let each of the processes that train on this machine compute on its share of the cores, where nothing is asked.

    Raises:
        UsageError: ``FLOWERS_THREADS`` is not a whole number of at least one.
    """
    cores = find_cores()
    torch.set_num_threads(cores.asked or max(1, min(torch.get_num_threads(), cores.usable // processes)))
