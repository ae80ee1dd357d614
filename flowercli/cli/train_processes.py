"""The processes of a run on the command line: those of ``--processes``, and those that torchrun starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.cli.output import note
from flowercli.cli.progress import waiting
from flowercli.errors import UsageError, needs_extra
from flowercli.shown import counted

if TYPE_CHECKING:
    from flowercli.training.launch import Launch
    from flowercli.training.process_group import ProcessGroup
    from flowercli.training.run_folder import RunFolder
    from flowercli.training.schema import TrainConfig


def launched(processes: int) -> Launch:
    """Return how this process leads a run of so many; one that does not lead serves the one that does, and ends here.

    Raises:
        UsageError: there is torchrun, and another number of processes was asked for.
        SystemExit: this was another process than the first.
    """
    from flowercli.training.launch import Launch

    launch = Launch.of_environment()
    if not launch.torchrun:
        return Launch(size=processes, local_size=processes)
    if processes > 1:
        raise UsageError("torchrun starts the processes: --processes cannot be given.", hint="--nproc-per-node N")
    if launch.leads:
        return launch
    with needs_extra("train"):
        from flowercli.training.members import join_launched
    raise SystemExit(join_launched(launch))


@contextmanager
def all_processes(launch: Launch) -> Iterator[ProcessGroup]:
    """Yield the group of all processes of a run once they are there: this one's, where there is no other.

    Raises:
        LostProcess: one of them did not start, or ended before its time.
    """
    from flowercli.training.members import members
    from flowercli.training.process_group import ProcessGroup

    if launch.torchrun:
        group = ProcessGroup.of(launch)
        yield group
        group.leave()
        return
    if launch.size > 1:
        note(f"Starting {counted(launch.size - 1, 'more process')} …")
    with members(launch.size) as group:
        yield group


def unfinished(config: TrainConfig) -> RunFolder | None:
    """Return the unfinished run of this name, which torchrun goes on with when it starts its processes again.

    Raises:
        UsageError: it has another configuration.
    """
    from flowercli.training.schema import SUFFIX

    if config.name is None or not Path(config.output, config.name + SUFFIX).exists():
        return None
    with waiting("Loading torch"), needs_extra("train"):
        from flowercli.training.run_folder import RunFolder
    folder = RunFolder.open(Path(config.output, config.name))
    if changed := folder.differs_from(config):
        message = f"The unfinished run {folder.path} has another configuration: {', '.join(changed)}."
        raise UsageError(message, hint="Give another name=…, or remove it.")
    note(f"Going on with {folder.path}")
    return replace(folder, config=replace(folder.config, num_workers=config.num_workers))
