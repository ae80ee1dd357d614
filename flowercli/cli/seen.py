"""``flowers seen``: whether a model was trained on a photograph, or on a near copy of it."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowercli.cli.options import Model
from flowercli.cli.output import note, print_json, print_table, warn
from flowercli.errors import EXIT_BAD_INPUT, BundleError
from flowercli.inference.classifier import asked_as
from flowercli.shown import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowercli.bundle import Bundle
    from flowercli.data.copies import Copies, Copy
    from flowercli.data.duplicates import Fingerprint

# What was done with a photograph of each split.
DONE = {"train": "trained on", "val": "chosen by", "test": "kept for testing"}
HASH_BITS = 64


def seen(
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO…", help="Files, folders and globs; - reads paths from stdin.")
    ],
    model: Model = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print every photograph as JSON.")] = False,
) -> None:
    """Say whether a model was trained on these photographs, or on near copies of them.

    Of copies that were rescaled or compressed again the perceptual hashes differ in four of 64 bits at most. A model
    names what it was trained on better than anything new: test it with other photographs.
    """
    from flowercli.data.copies import Copies, limits
    from flowercli.data.manifest import Manifest
    from flowercli.models import load_model

    bundle = load_model(model)
    if (file := bundle.manifest_file) is None:
        message = f"{bundle.path} does not say which photographs it was trained on: it has no split manifest."
        raise BundleError(message, hint="Give the bundle folder that flowers train wrote: --model BUNDLE")
    manifest = Manifest.read(file)
    copies = Copies(manifest)
    rows = list(_look(photos, copies))
    found = [copy for _, _, copy in rows if copy is not None]
    bad = sum(told.error is not None for _, told, _ in rows)
    if json_output:
        print_json({"model": asked_as(bundle), "photos": [_as_dict(*row) for row in rows]})
    else:
        _print(rows)
        _sum_up(bundle, len(rows) - bad, found)
    for line in limits(copies, manifest, bundle):
        note(line)
    if bad:
        warn(f"{bad} of {len(rows)} could not be read.")
    if bad or not rows:
        raise typer.Exit(EXIT_BAD_INPUT)


def _look(photos: list[str], copies: Copies) -> Iterator[tuple[str, Fingerprint, Copy | None]]:
    """Yield each photograph with what its read told and what it is a copy of."""
    from flowercli.cli.progress import advancing
    from flowercli.data.duplicates import Fingerprint, fingerprint
    from flowercli.inference.cpu import available_cores
    from flowercli.inference.pipeline import ordered_map
    from flowercli.inference.sources import STDIN, expand, is_elsewhere

    def look(path: str) -> Fingerprint:
        is_file = path != STDIN and not is_elsewhere(path)
        return fingerprint(path) if is_file else Fingerprint("", None, "Only files of this machine are looked at.")

    paths = list(expand(photos, sys.stdin))
    with advancing() as advance:
        for path, told in zip(paths, ordered_map(look, paths, available_cores()), strict=True):
            advance("Looking at photographs", len(paths))
            yield path, told, None if told.error else copies.find(told)


def _as_dict(path: str, told: Fingerprint, copy: Copy | None) -> dict[str, Any]:
    listed = None if told.error else copy is not None
    was_used = None if told.error else copy is not None and copy.photo.split != "test"
    row: dict[str, Any] = {"path": path, "seen": was_used, "listed": listed, "error": told.error}
    if copy is not None:
        photo = copy.photo
        row |= {"copy_of": photo.path, "source": photo.source or None, "split": photo.split}
        row |= {"is_outlier": copy.is_outlier, "same_file": copy.bits is None, "bits": copy.bits or 0}
    return row


def _print(rows: Iterable[tuple[str, Fingerprint, Copy | None]]) -> None:
    shown = [(path, *_words(told, copy)) for path, told, copy in rows if copy is not None or told.error]
    if shown:
        columns = ("Photo", "It was", "The photograph there", "Alike")
        print_table(columns, shown, left=columns, paths=("Photo", "The photograph there"))


def _words(told: Fingerprint, copy: Copy | None) -> tuple[str, str, str]:
    if copy is None:
        return str(told.error), "", ""
    alike = "the same file" if copy.bits is None else f"{HASH_BITS - copy.bits} of {HASH_BITS} bits"
    as_what = ", as none of its flowers" if copy.is_outlier else ""
    return DONE[copy.photo.split] + as_what, copy.photo.path, alike


def _sum_up(bundle: Bundle, count: int, found: list[Copy]) -> None:
    by_split = Counter(copy.photo.split for copy in found)
    parts = ", ".join(f"{by_split[split]} {words}" for split, words in DONE.items() if by_split[split])
    of_all = f"{len(found)} of {counted(count, 'photograph')}"
    note(f"{of_all} {'is' if len(found) == 1 else 'are'} known to {asked_as(bundle)}{': ' if parts else ''}{parts}.")
