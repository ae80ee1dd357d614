"""A dataset that is split already, into folders ``train``, ``val`` (or ``valid``) and ``test``: its split stays."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from flowercli.data.split import assign, keep_groups_together
from flowercli.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowercli.data.scan import Scan


def check_parts(scan: Scan, *, by_folder: bool) -> None:
    """Hold what is asked for to what is there.

    Raises:
        DataError: the dataset is split already, and nobody said that it is to stay so.
        UsageError: it is to stay so, and is not.
    """
    if scan.parts and not by_folder:
        message = f"{scan.root} is split already: {', '.join(scan.parts)} are no classes."
        raise DataError(message, hint=f"Keep that split: flowers split {shlex.quote(str(scan.root))} --by-folder")
    if by_folder and not scan.parts:
        message = f"{scan.root} is not split already: it has no folders train and val (or valid) or test."
        raise UsageError(message, hint=f"flowers split {shlex.quote(str(scan.root))}")


def sides_by_folder(
    scan: Scan,
    class_names: Sequence[str],
    parts: Sequence[str],
    groups: Sequence[Sequence[int]],
    ratios: Sequence[float],
    seed: int,
    *,
    stratify: bool,
) -> list[str]:
    """Return the split of photographs by the part that each lies in.

    Without a folder for validation its photographs are drawn from those for training, copies together, in the
    proportion that ``ratios`` has of the two. Nothing else moves.

    Args:
        scan: the dataset.
        class_names: of each photograph.
        parts: of each photograph.
        groups: of copies, by index.
        ratios: shares of train, val and test.
        seed: as for ``torch.Generator().manual_seed``.
        stratify: keep the classes' proportions.
    """
    if "val" in scan.parts.values():
        return list(parts)
    train = {index: place for place, index in enumerate(i for i, part in enumerate(parts) if part == "train")}
    share = ratios[1] / (ratios[0] + ratios[1] or 1)
    drawn = assign([class_names[index] for index in train], (1 - share, share, 0), seed, stratify=stratify)
    inside = [[train[index] for index in group if index in train] for group in groups]
    drawn = keep_groups_together(drawn, [group for group in inside if group])
    return [drawn[train[index]] if index in train else part for index, part in enumerate(parts)]
