"""Hold the photographs that a run is to learn from to its split manifest, before anything is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.data.changes import Changes, added, changed, split_command, stratified_command
from flowercli.errors import DataError
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowercli.data.manifest import Entry, Manifest
    from flowercli.training.schema import TrainConfig


def check_photos(config: TrainConfig, manifest: Manifest, say: Callable[[str], None], *, resumed: bool = False) -> None:
    """Look for photographs that were added, removed or edited since the split.

    Args:
        config: says where they are.
        manifest: the split.
        say: called with what differs and does not stop the run.
        resumed: the run has begun: another split would be another run's.

    Raises:
        DataError: some that the run would use are gone or edited, a class has none to learn from, or the manifest lists
            outliers that the configuration does not know of, or the other way round.
    """
    if bool(manifest.outliers) != (config.data.outliers is not None):
        raise _outliers_differ(config)
    root, others = Path(config.data.path), outliers_root(config) if manifest.outliers else None
    if others and not others.is_dir():
        raise DataError(f"The outliers are not at {others}.", hint="Say where they are: --outliers DIR")
    counts = manifest.counts("train")
    if any(counts.values()) and (untaught := [name for name, count in counts.items() if not count]):
        raise _untaught(untaught, stratified_command(root, manifest, others, config.data.manifest))
    inside, outside = changed(root, manifest.photos), changed(others, manifest.outliers) if others else Changes()
    found = added(root, manifest) + inside + (outside.below(others) if others else outside)
    again = split_command(root, manifest, others, config.data.manifest)
    anew = f"start a new run: {again}, then flowers train …" if resumed else f"split what is there now: {again}"
    if _is_used(inside, manifest.photos) or _is_used(outside, manifest.outliers):
        message = f"The photographs in {root} are no longer those of the split manifest: {found}."
        raise DataError(message, hint=f"Put them back as they were, or {anew}")
    if found:
        say(f"Since the split there were {found}. The run goes by the split. Or {anew}")


def outliers_root(config: TrainConfig) -> Path:
    """Return the folder of the outliers of a run that has some."""
    assert config.data.outliers is not None  # Checked before the run began.
    return Path(config.data.outliers)


def _is_used(changes: Changes, entries: Sequence[Entry]) -> bool:
    """Whether any of what is no longer as it was is for training or validation."""
    gone = {*changes.removed, *changes.edited}
    return any(entry.path in gone and entry.split != "test" for entry in entries) if gone else False


def _untaught(class_names: Sequence[str], split_again: str | None) -> DataError:
    message = f"The train split has no photograph of {', '.join(class_names)}: nothing could be learnt about that."
    if split_again is None:
        return DataError(message, hint="Add photographs of it for training and split again, or move its folder away.")
    return DataError(message, hint=f"Give each class its share: {split_again}")


def _outliers_differ(config: TrainConfig) -> DataError:
    path, output = config.data.path, config.data.manifest
    if config.data.outliers is None:
        message = "The split manifest lists outliers, and nothing says where they are."
        return DataError(message, hint=f"flowers train --data {in_shell(path)} --outliers DIR")
    message = "The split manifest was made without outliers."
    there = "" if output is None else f" --output {in_shell(output)}"
    again = f"flowers split {in_shell(path)} --outliers {in_shell(config.data.outliers)}{there}"
    return DataError(message, hint=again)
