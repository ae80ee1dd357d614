"""Which split ``flowers train`` goes by: the manifest that is there, or a new one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.cli.output import note
from flowercli.cli.split import write_split
from flowercli.data.changes import split_command
from flowercli.data.make_split import Outliers
from flowercli.data.manifest import Manifest
from flowercli.data.places import find_manifest
from flowercli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowercli.training.schema import DataConfig


def find_or_make_manifest(data: DataConfig, overrides: Sequence[str]) -> Manifest:
    """Return the split of a dataset.

    Args:
        data: where it is, and how to split it where it is not split yet.
        overrides: what was typed: options for a split that is there already must be those that it was made with.

    Raises:
        UsageError: they are not.
    """
    root = Path(data.path)
    outliers = None if data.outliers is None else Path(data.outliers)
    if data.manifest is not None:
        path: Path | None = Path(data.manifest)
    elif (path := find_manifest(root) if root.is_dir() else None) is not None:
        note(f"Split manifest: {path}")
    if path is None:
        others = None if outliers is None else Outliers(outliers)
        return write_split(root, data.ratios, data.split_seed, stratify=data.stratify, outliers=others)[0].manifest
    manifest = Manifest.read(path)
    typed = {override.lstrip("+").partition("=")[0] for override in overrides}
    if contradicted := [said for key, said in _differences(data, manifest).items() if key in typed]:
        keys = ", ".join(said.partition("=")[0] for said in contradicted)
        message = (
            f"The split manifest {path} was made with other options than {', '.join(contradicted)}: {_how(manifest)}."
        )
        wanted = replace(manifest, ratios=tuple(data.ratios), seed=data.split_seed, stratified=data.stratify)
        hint = f"Leave out {keys}. Or split anew: {split_command(root, wanted, outliers)}"
        raise UsageError(message, hint=hint)
    return manifest


def _differences(data: DataConfig, manifest: Manifest) -> dict[str, str]:
    """Return the options that a manifest was not made with, as they would be typed, by their key."""
    ratios = zip(data.ratios, manifest.ratios, strict=False)
    same = {
        f"data.ratios={_listed(data.ratios)}": all(math.isclose(one, other, abs_tol=1e-6) for one, other in ratios),
        f"data.split_seed={data.split_seed}": data.split_seed == manifest.seed,
        f"data.stratify={str(data.stratify).lower()}": data.stratify == manifest.stratified,
    }
    return {said.partition("=")[0]: said for said, is_same in same.items() if not is_same}


def _how(manifest: Manifest) -> str:
    return f"ratios {_listed(manifest.ratios)}, seed {manifest.seed}, {'' if manifest.stratified else 'not '}stratified"


def _listed(ratios: Sequence[float]) -> str:
    return f"[{','.join(f'{ratio:.6g}' for ratio in ratios)}]"
