"""What of a sidecar matters, and where it stands in the text.

Formats: XMP (ISO 16684-1), as RDF (W3C). A sidecar is anybody's: expat reads it, entities and document types are
refused unread, and what is kept of it is counted.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from itertools import starmap
from typing import NamedTuple
from xml.parsers import expat

from flowercli.shown import one_line

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
OWN = "urn:flowercli:answer:1#"
ABOUT = (RDF + "about", "about")


class List(NamedTuple):
    """A list of keywords: its namespace, its container, and what is between the levels of a keyword there."""

    space: str
    container: str
    between: str


# Those that programs read. Immich reads no SUBJECT; it and digiKam read one list alone, TAGS before the others.
SUBJECT, TAGS = "dc:subject", "digiKam:TagsList"
LISTS = {
    SUBJECT: List("http://purl.org/dc/elements/1.1/", "Bag", ""),
    TAGS: List("http://www.digikam.org/ns/1.0/", "Seq", "/"),
    "lr:hierarchicalSubject": List("http://ns.adobe.com/lightroom/1.0/", "Bag", "|"),
    "MicrosoftPhoto:LastKeywordXMP": List("http://ns.microsoft.com/photo/1.0/", "Bag", "/"),
}
# exiftool writes Microsoft's namespace without the slash, exiv2 with it.
LIST_NAMES = {
    start + name.partition(":")[2]: name for name, one in LISTS.items() for start in (one.space, one.space.rstrip("/"))
}
# Parts are elements that are kept or beside such; names are those of all elements, attributes and namespaces: Photoshop
# puts a hundred thousand that are nothing to us into some files.
MOST_PARTS, MOST_NAMES, DEEPEST = 100_000, 500_000, 200
# Of a namespace, which expat writes out before each name.
LONGEST_SPACE = 500
SEPARATOR = "\n"
TAG = re.compile(rb"<(?:[^>\"']++|\"[^\"]*+\"|'[^']*+')*+>")


class XmpError(ValueError):
    """What a sidecar has that it is left alone for."""


@dataclass(slots=True)
class Element:
    """An element, where it stands in the text, and what it has of what is looked for.

    ``name`` is its full name and ``written`` that in the text; ``attributes`` are by full name the one in the text and
    the value. ``start`` and ``end`` enclose all of it, ``inside`` is behind its first tag. ``others`` counts the
    elements in it that are looked for nowhere.
    """

    name: str
    written: str
    attributes: dict[str, tuple[str, str]]
    start: int
    inside: int
    end: int = 0
    text: str = ""
    others: int = 0
    children: list[Element] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """The prefix of its name, with the colon."""
        prefix, colon, _ = self.written.rpartition(":")
        return prefix + colon


def read(content: bytes) -> Element:
    """Return the rdf:RDF of a sidecar.

    Raises:
        XmpError: it is none, is not in UTF-8, or has what costs more than it can be worth.
    """
    # expat would read UTF-16 too, and count other bytes.
    if b"\0" in content or content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise XmpError("it is in UTF-16, not in UTF-8")
    rdf = _Reader(content).rdf
    if rdf is None:
        raise XmpError("it has no rdf:RDF")
    return rdf


class _Reader:
    """Reads the elements that matter: rdf:RDF, its descriptions, in these our properties and lists of keywords."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._open: list[Element | None] = []
        # Of each that is open: added to a text at once, a million pieces would be copied a million times.
        self._pieces: list[list[str]] = []
        self._parts = self._names = 0
        self.rdf: Element | None = None
        parser = self._parser = expat.ParserCreate("utf-8", SEPARATOR)
        parser.namespace_prefixes = True
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartNamespaceDeclHandler = self._named
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(content, True)  # noqa: FBT003  (expat's)
        except expat.ExpatError as error:
            raise XmpError(f"it is not well-formed XML: {error}") from error

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if (encoding or "utf-8").lower() not in {"utf-8", "us-ascii", "ascii"}:
            raise XmpError(f"it is in {one_line(str(encoding))}, not in UTF-8")

    def _refuse(self, *_: object) -> None:
        raise XmpError("it has a document type, which no XMP has")

    def _named(self, _prefix: str | None, space: str | None) -> None:
        if space is not None and len(space) > LONGEST_SPACE:
            raise XmpError(f"it has a namespace of more than {LONGEST_SPACE} characters")
        self._count(names=1)

    def _count(self, *, parts: int = 0, names: int) -> None:
        self._parts += parts
        self._names += names
        if self._parts > MOST_PARTS:
            raise XmpError(f"it has more than {MOST_PARTS:,} parts")
        if self._names > MOST_NAMES:
            raise XmpError(f"it has more than {MOST_NAMES:,} elements and attributes")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        parent = self._open[-1] if self._open else None
        if len(self._open) >= DEEPEST:
            raise XmpError(f"it is more than {DEEPEST} elements deep")
        self._open.append(None)
        self._pieces.append([])
        full, written = _split(name)
        does_matter = _matters(full, parent)
        self._count(parts=does_matter or parent is not None, names=1 + len(attributes))
        if not does_matter:
            if parent is not None:
                parent.others += 1
            return
        start = self._parser.CurrentByteIndex
        found = TAG.match(self._content, start)
        assert found is not None
        element = Element(full, written, dict(starmap(_attribute, attributes.items())), start, found.end())
        self._open[-1] = element
        if parent is not None:
            parent.children.append(element)
        elif self.rdf is not None:
            raise XmpError("it has more than one rdf:RDF")
        else:
            self.rdf = element

    def _end(self, _name: str) -> None:
        element, pieces = self._open.pop(), self._pieces.pop()
        if element is None:
            return
        element.text = "".join(pieces)
        at = self._parser.CurrentByteIndex
        is_empty = self._content[element.inside - 2 : element.inside] == b"/>"
        element.end = element.inside if is_empty else self._content.index(b">", at) + 1

    def _characters(self, text: str) -> None:
        if self._open and self._open[-1] is not None:
            self._pieces[-1].append(text)


def _matters(name: str, parent: Element | None) -> bool:
    """Whether an element is kept: below rdf:RDF those that lead to lists, and ours, and no deeper ones."""
    if parent is None:
        return name == RDF + "RDF"
    if parent.name == RDF + "RDF":
        return name == RDF + "Description"
    if parent.name == RDF + "Description":
        return name.startswith(OWN) or name in LIST_NAMES
    if parent.name in LIST_NAMES:
        return name in {RDF + "Bag", RDF + "Seq", RDF + "Alt"}
    return name == RDF + "li" and parent.name.startswith(RDF)


def _split(name: str) -> tuple[str, str]:
    """Return of a name of expat's the full name, and the name as it stands in the text."""
    # The name; the namespace before it; the prefix behind these.
    parts = name.split(SEPARATOR)
    local, prefix = parts[1] if len(parts) > 1 else name, "".join(parts[2:])
    return "".join(parts[:2]), f"{prefix}:{local}" if prefix else local


def _attribute(name: str, value: str) -> tuple[str, tuple[str, str]]:
    full, written = _split(name)
    return full, (written, value)
