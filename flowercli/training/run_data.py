"""Which split a run goes by, the one that is there or a new one, and whether its photographs are still those of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.data.changes import Changes, added, changed, split_command, stratified_command
from flowercli.data.make_split import Outliers, write_split
from flowercli.data.manifest import Entry, Manifest
from flowercli.data.places import find_manifest
from flowercli.errors import DataError, UsageError
from flowercli.progress import Advance, untold
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.training.schema import DataConfig, TrainConfig


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


def find_or_make_manifest(
    data: DataConfig, typed: Sequence[str], say: Callable[[str], None], advance: Advance = untold
) -> Manifest:
    """Return the split of a dataset; it is made where there is none yet.

    Args:
        data: where it is, and how to split it where it is not split yet.
        typed: overrides: options for a split that is there already must be those that it was made with.
        say: told where a manifest was found that was not named.
        advance: called as :func:`flowercli.data.make_split.make_split` does.

    Raises:
        UsageError: they are not.
    """
    root = Path(data.path)
    if data.manifest is not None:
        path: Path | None = Path(data.manifest)
    elif (path := find_manifest(root) if root.is_dir() else None) is not None:
        say(f"Split manifest: {path}")
    if path is None:
        others = None if data.outliers is None else Outliers(Path(data.outliers))
        how: dict[str, Any] = {"stratify": data.stratify, "outliers": others, "advance": advance}
        return write_split(root, data.ratios, data.split_seed, **how)[0].manifest
    manifest = Manifest.read(path)
    _refuse_contradictions(data, {override.lstrip("+").partition("=")[0] for override in typed}, manifest, path)
    return manifest


def _refuse_contradictions(data: DataConfig, typed: Collection[str], manifest: Manifest, path: Path) -> None:
    options: dict[str, tuple[str, Any]] = {
        "data.ratios": ("ratios", tuple(data.ratios)),
        "data.split_seed": ("seed", data.split_seed),
        "data.stratify": ("stratified", data.stratify),
    }
    other = {key: value for key, (name, value) in options.items() if not _same(value, getattr(manifest, name))}
    contradicted = [key for key in other if key in typed]
    if not contradicted:
        return
    said = ", ".join(f"{key}={_listed(other[key])}" for key in contradicted)
    wanted = replace(manifest, **dict(options[key] for key in contradicted))
    outliers = None if data.outliers is None else Path(data.outliers)
    again = split_command(Path(data.path), wanted, outliers, data.manifest)
    how = f"ratios {_listed(manifest.ratios)}, seed {manifest.seed}, {'' if manifest.stratified else 'not '}stratified"
    message = f"The split manifest {path} was made with other options than {said}: {how}."
    raise UsageError(message, hint=f"Leave out {', '.join(contradicted)}. Or split anew: {again}")


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, tuple):
        return bool(one == other)
    return len(one) == len(other) and all(math.isclose(*pair, abs_tol=1e-6) for pair in zip(one, other, strict=True))


def _listed(value: Any) -> str:
    """Return a value as it would be typed."""
    if isinstance(value, tuple):
        return f"[{','.join(f'{ratio:.6g}' for ratio in value)}]"
    return str(value).lower()
