"""Read the text of a split manifest, whoever wrote it: each field is checked, and named where it is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from flowercli import json_text
from flowercli.data.inside import MAX_NAME_BYTES, leads_outside
from flowercli.data.split import SPLITS

SHA256, PERCEPTUAL_HASH = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{16}")
REQUIRED = ("path", "class_name", "split", "sha256")
OPTIONAL = ("source", "perceptual_hash")
HEAD = ("format_version", "seed", "ratios", "stratified", "near_duplicates_checked", "class_names", "photos")
BETWEEN = re.compile(r"[\s,:]*")


class OtherFormatError(Exception):
    """The manifest is of another format; the text is the number."""


def parse(text: str, version: int) -> dict[str, Any]:
    """Return the fields of a manifest, all of the right type and in range.

    Raises:
        OtherFormatError: it has another ``format_version``.
        ValueError: what is wrong, and where.
    """
    fields = json_text.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("it is no object")  # noqa: TRY004  (one kind of error for all that a file may hold)
    if isinstance(other := fields.get("format_version", version), int) and other != version:
        raise OtherFormatError(_shown(other))
    for name, place, why in _wrong(fields):
        at = "" if place is None else f"[{place}]"
        raise ValueError(f"line {_line(text, name, place)}: {name}{at}{why}")
    return fields


class Wrong(NamedTuple):
    """What is wrong with a field, or with an entry of its list, in words that go behind its name."""

    field: str
    place: int | None
    why: str


def _wrong(fields: dict[str, Any]) -> Iterator[Wrong]:
    """Yield what is wrong, the first thing first."""
    yield from (Wrong(name, None, " is missing") for name in HEAD if name not in fields)
    for name, kind in {"format_version": int, "seed": int, "stratified": bool, "near_duplicates_checked": bool}.items():
        if type(fields[name]) is not kind:
            yield Wrong(name, None, f" is {_shown(fields[name])}")
    ratios, names = fields["ratios"], fields["class_names"]
    if not isinstance(ratios, list) or len(ratios) != len(SPLITS) or not all(_is_share(ratio) for ratio in ratios):
        yield Wrong("ratios", None, f" is {_shown(ratios)}")
    if not isinstance(names, list) or len({str(name) for name in names}) != len(names) or not names:
        yield Wrong("class_names", None, " is no list of different names")
        return
    yield from (Wrong("class_names", place, why) for place, name in enumerate(names) if (why := _bad_name(name)))
    yield from _wrong_entries("photos", fields["photos"], names)
    yield from _wrong_entries("outliers", fields.get("outliers", []), None)
    unreadable = fields.get("unreadable", [])
    if not isinstance(unreadable, list) or not all(isinstance(path, str) for path in unreadable):
        yield Wrong("unreadable", None, " is no list of paths")


def _wrong_entries(list_name: str, entries: Any, names: list[str] | None) -> Iterator[Wrong]:
    if not isinstance(entries, list):
        yield Wrong(list_name, None, " is no list")
        return
    known = None if names is None else frozenset(names)
    paths: dict[str, int] = {}
    for place, entry in enumerate(entries):
        yield from (Wrong(list_name, place, why) for why in wrong_entry(entry, known))
        if (first := paths.setdefault(entry["path"], place)) != place:
            yield Wrong(list_name, place, f".path is that of {list_name}[{first}] too: {_shown(entry['path'])}")


def _line(text: str, name: str, place: int | None) -> int:
    """Return in which line of a manifest, which is JSON, a field is, or an entry of its list; 1 if it is not there."""
    decode, at = json.JSONDecoder().raw_decode, text.index("{") + 1
    while text[at := _skip(text, at)] != "}":
        start = at
        key, at = decode(text, at)
        value = _skip(text, at)
        if key == name:
            return text.count("\n", 0, start if place is None else _start_of(text, value, place)) + 1
        _, at = decode(text, value)
    return 1


def _start_of(text: str, at: int, place: int) -> int:
    """Return where an entry of the list that begins at ``at`` begins."""
    at += 1
    for _ in range(place):
        _, at = json.JSONDecoder().raw_decode(text, _skip(text, at))
    return _skip(text, at)


def _skip(text: str, at: int) -> int:
    """Return where what is between two values of JSON ends."""
    found = BETWEEN.match(text, at)
    return at if found is None else found.end()


def wrong_entry(entry: Any, class_names: Container[str] | None) -> Iterator[str]:
    """Yield what is wrong with a photograph, or with an outlier, whose kind may be any."""
    if not isinstance(entry, dict):
        yield " is no object"
        return
    yield from (f".{name} is missing" for name in REQUIRED if name not in entry)
    yield from (f" has an unknown field, {_shown(name)}" for name in entry if name not in (*REQUIRED, *OPTIONAL))
    yield from (f".{name} is {_shown(value)}" for name, value in entry.items() if not isinstance(value, str))
    if why := leads_outside(entry["path"]) or (None if entry["path"].strip("./") else "has no name"):
        yield f".path {why}: {_shown(entry['path'])}"
    if entry["split"] not in SPLITS:
        yield f".split is {_shown(entry['split'])}; it must be train, val or test"
    if not SHA256.fullmatch(entry["sha256"]):
        yield f".sha256 is {_shown(entry['sha256'])}"
    if not PERCEPTUAL_HASH.fullmatch(entry.get("perceptual_hash", "0" * 16)):
        yield f".perceptual_hash is {_shown(entry['perceptual_hash'])}"
    if class_names is not None and entry["class_name"] not in class_names:
        yield f".class_name is {_shown(entry['class_name'])}, which class_names does not list"
    if class_names is None and (why := _bad_name(entry["class_name"])):
        yield f".class_name{why}"


def _bad_name(name: Any) -> str | None:
    """Return what is wrong with the name of a class or kind, which is that of a folder."""
    if not isinstance(name, str):
        return f" is {_shown(name)}"
    if name in {"", ".", ".."} or "/" in name or "\0" in name or len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        return f" is no name of a folder: {_shown(name)}"
    return None


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _shown(value: Any) -> str:
    """Return a value as JSON, short and in ASCII: it goes to a terminal."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "…"  # noqa: PLR2004  (a line of a message)
