"""Which split ``flowers train`` goes by: the manifest that is there, or a new one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.data.changes import split_command
from flowercli.data.make_split import Outliers, write_split
from flowercli.data.manifest import Manifest
from flowercli.data.places import find_manifest
from flowercli.errors import UsageError
from flowercli.progress import untold

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from flowercli.progress import Advance
    from flowercli.training.schema import DataConfig


def find_or_make_manifest(
    data: DataConfig, typed: Sequence[str], say: Callable[[str], None], advance: Advance = untold
) -> tuple[Manifest, bool]:
    """Return the split of a dataset, and whether it was made now.

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
        return write_split(root, data.ratios, data.split_seed, **how)[0].manifest, True
    manifest = Manifest.read(path)
    _refuse_contradictions(data, {override.lstrip("+").partition("=")[0] for override in typed}, manifest, path)
    return manifest, False


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
    message = f"The split manifest {path} was made with other options than {said}: {_how(manifest)}."
    raise UsageError(message, hint=f"Leave out {', '.join(contradicted)}. Or split anew: {again}")


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, tuple):
        return bool(one == other)
    return len(one) == len(other) and all(math.isclose(*pair, abs_tol=1e-6) for pair in zip(one, other, strict=True))


def _how(manifest: Manifest) -> str:
    return f"ratios {_listed(manifest.ratios)}, seed {manifest.seed}, {'' if manifest.stratified else 'not '}stratified"


def _listed(value: Any) -> str:
    """Return a value as it would be typed."""
    if isinstance(value, tuple):
        return f"[{','.join(f'{ratio:.6g}' for ratio in value)}]"
    return str(value).lower()
