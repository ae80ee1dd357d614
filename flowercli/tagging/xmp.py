"""An answer in an XMP sidecar: put in as text, so that every byte that is not ours stays what it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from flowercli.tagging.elements import ABOUT, LIST_NAMES, LISTS, OWN, RDF, SUBJECT, TAGS, Element, XmpError, read

FIELDS = ("Keyword", "ScientificName", "Confidence", "Model", "ModelIdentity", "Graph", "AddedTo")
# Another processor may round otherwise: so far apart, two confidences of one graph are the same.
SAME_CONFIDENCE = 0.005
LONGEST_INDENT = 64
INDENT = re.compile(rb"\r?\n[ \t]*$")
# Possessive, and from the first of white space on: a stranger's megabyte of it is looked through once.
ATTRIBUTE = re.compile(rb"(?<!\s)\s++([^\s=]++)\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+')")

EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="flowers">
 <rdf:RDF xmlns:rdf="{RDF}">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()


class Record(NamedTuple):
    """What is said of an answer: the keyword, and what decided it; ``identity`` is the sha256 of the model."""

    keyword: str
    scientific_name: str
    confidence: float
    model: str
    identity: str
    graph: str

    def fields(self, added_to: list[str]) -> dict[str, str]:
        """Return the properties, with the lists that got the keyword, as only what was put there is ever taken off."""
        values = (*self[:2], f"{self.confidence:.4f}", *self[3:], " ".join(added_to))
        return dict(zip(FIELDS, values, strict=True))

    def is_in(self, fields: dict[str, str]) -> bool:
        """Whether a sidecar with these properties has the answer already."""
        try:
            apart = abs(float(fields.get("Confidence", "nan")) - self.confidence)
        except ValueError:
            return False
        same = ("Keyword", "ScientificName", "Model", "ModelIdentity", "Graph")
        return apart <= SAME_CONFIDENCE and all(fields.get(name) == self.fields([])[name] for name in same)


class _Edit(NamedTuple):
    """Text in place of what stands between two places."""

    start: int
    end: int
    text: str


class Sidecar:
    """A sidecar that was read.

    Raises:
        XmpError: it is none, or one that no keyword can be added to without doubt.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._rdf = read(content)
        self._edits: list[_Edit] = []
        self.fields: dict[str, str] = {}
        self._lists: dict[str, Element] = {}
        for description in self._rdf.children:
            self._look_at(description)
        self.keywords = {name: [item.text for item in self._items(name)] for name in self._lists}

    def _look_at(self, description: Element) -> None:
        for name, (_, value) in description.attributes.items():
            self._take(name, value)
        for child in description.children:
            if child.name in LIST_NAMES:
                if self._lists.setdefault(LIST_NAMES[child.name], child) is not child:
                    raise XmpError(f"it has {LIST_NAMES[child.name]} twice")
                if len(child.children) > 1 or child.others or child.text.strip() or child.attributes:
                    raise XmpError(f"its {LIST_NAMES[child.name]} is no list")
            else:
                self._take(child.name, child.text)

    def _take(self, name: str, value: str) -> None:
        if name in LIST_NAMES:
            raise XmpError(f"its {LIST_NAMES[name]} is no list")
        if name.startswith(OWN):
            self.fields[name.removeprefix(OWN)] = value

    def _items(self, name: str) -> list[Element]:
        return [item for container in self._lists[name].children for item in container.children]

    def with_answer(self, record: Record) -> bytes:
        """Return the text with an answer: the very same where it has it already.

        A keyword that an earlier answer put there is taken off. Who has taken it off does not get the same one again.
        """
        if record.is_in(self.fields):
            return self.content
        old, before = self.fields.get("Keyword", ""), self.fields.get("AddedTo", "").split()
        still = [name for name in before if old in self.keywords.get(name, ())]
        is_other = old != record.keyword
        # None in "before": it was the user's own, and is there, or was taken off.
        wanted = self._wanted() if is_other or (before and still == before) else []
        new = [name for name in wanted if not self._has(name, record.keyword)]
        fields = record.fields([name for name in LISTS if name in new or (name in still and not is_other)])
        gone = dict.fromkeys(still, old) if is_other else {}
        self._edits = [self._without(name, keyword) for name, keyword in gone.items()]
        self._replace_own(fields, [name for name in new if name not in self._lists], record.keyword)
        for name in new:
            if name in self._lists:
                self._put_in(name, record.keyword)
        text = self._edited()
        self._check(Sidecar(text), fields, gone, dict.fromkeys(new, record.keyword))
        return text

    def _wanted(self) -> list[str]:
        """Return the lists that are to have the keyword: those that are there, one that all programs have, and TAGS.

        Not TAGS beside others: programs that read one list alone would not see those any more.
        """
        return [SUBJECT, *(name for name in self._lists if name != SUBJECT)] if self._lists else [SUBJECT, TAGS]

    def _has(self, name: str, keyword: str) -> bool:
        between = LISTS[name].between
        leaves = (text.rpartition(between)[2] if between else text for text in self.keywords.get(name, ()))
        return any(leaf.strip().casefold() == keyword.casefold() for leaf in leaves)

    def _without(self, name: str, keyword: str) -> _Edit:
        """Return what takes a keyword out of a list."""
        return self._cut(next(item for item in self._items(name) if item.text == keyword))

    def _put_in(self, name: str, keyword: str) -> None:
        """Put a keyword into a list that is there."""
        element = self._lists[name]
        if element.children:
            container = element.children[0]
            item = f"{container.prefix}li"
            self._append(container, lambda _: f"<{item}>{escape(keyword)}</{item}>")
        else:
            self._append(element, lambda indent: _filled(name, keyword, indent, f' xmlns:rdf="{RDF}"'))

    def _replace_own(self, fields: dict[str, str], lists: list[str], keyword: str) -> None:
        """Put our properties into a description of their own, and lists that are not there into another."""
        for description in self._rdf.children:
            self._edits += self._without_own(description)
        found = (each.attributes[name][1] for each in self._rdf.children for name in ABOUT if name in each.attributes)
        # Under another prefix, the file's own elements would do, but no attribute of theirs.
        declared = "" if self._rdf.prefix == "rdf:" else f' xmlns:rdf="{RDF}"'
        start = f"<rdf:Description{declared} rdf:about={quoteattr(next(found, ''))}"

        def written(indent: str) -> str:
            deeper = f"{indent}  " if indent else " "
            own = "".join(f"{deeper}flowers:{name}={quoteattr(value)}" for name, value in fields.items())
            text = f'{start}{deeper}xmlns:flowers="{OWN}"{own}/>'
            if not lists:
                return text
            spaces = "".join(f'{deeper}xmlns:{name.partition(":")[0]}="{LISTS[name].space}"' for name in lists)
            inner = indent and f"{indent} "
            elements = "".join(f"{inner}<{name}>{_filled(name, keyword, inner)}{inner}</{name}>" for name in lists)
            return f"{text}{indent}{start}{spaces}>{elements}{indent}</rdf:Description>"

        self._append(self._rdf, written)

    def _without_own(self, description: Element) -> list[_Edit]:
        """Return what takes our properties off, and a description that has no others."""
        ours = {written for name, (written, _) in description.attributes.items() if name.startswith(OWN)}
        children = [child for child in description.children if child.name.startswith(OWN)]
        if not ours and not children:
            return []
        others = len(description.children) - len(children) + description.others
        if not others and all(name.startswith(OWN) or name in ABOUT for name in description.attributes):
            return [self._cut(description)]
        found = ATTRIBUTE.finditer(self.content, description.start, description.inside)
        attributes = [_Edit(each.start(), each.end(), "") for each in found if each[1].decode() in ours]
        return attributes + [self._cut(child) for child in children]

    def _cut(self, element: Element) -> _Edit:
        return _Edit(element.start - len(self._indent(element)), element.end, "")

    def _append(self, parent: Element, written: Callable[[str], str]) -> None:
        """Add what is written behind the last element in another one, on lines that are indented like it."""
        is_empty = parent.inside == parent.end
        if parent.children:
            last = parent.children[-1]
            place, indent = last.end, self._indent(last)
        else:
            place, indent = parent.inside, self._indent(parent) and f"{self._indent(parent)} "
        text = f"{indent}{written(indent)}"
        if is_empty:
            self._edits.append(_Edit(place - 2, place, f">{text}{self._indent(parent)}</{parent.written}>"))
        else:
            self._edits.append(_Edit(place, place, text))

    def _indent(self, element: Element) -> str:
        """Return the line end and the white space before an element that begins a line."""
        found = INDENT.search(self.content[max(0, element.start - LONGEST_INDENT) : element.start])
        return found[0].decode() if found else ""

    def _edited(self) -> bytes:
        parts, at = [], 0
        for edit in sorted(self._edits):
            parts += [self.content[at : edit.start], edit.text.encode()]
            at = edit.end
        return b"".join([*parts, self.content[at:]])

    def _check(self, again: Sidecar, fields: dict[str, str], gone: dict[str, str], new: dict[str, str]) -> None:
        """Hold what was written to what was meant, before anybody's file is replaced by it.

        Raises:
            XmpError: it differs: the sidecar is built in a way that was not thought of.
        """
        for name in {*self.keywords, *again.keywords}:
            meant = list(self.keywords.get(name, ()))
            if name in gone:
                meant.remove(gone[name])
            if [*meant, *(word for at, word in new.items() if at == name)] != again.keywords.get(name):
                raise XmpError(f"its {name} is built in a way that is not understood")
        if again.fields != fields:
            raise XmpError("it is built in a way that is not understood")


def _filled(name: str, keyword: str, indent: str, declared: str = "") -> str:
    """Return the container of a list with its first keyword."""
    kind, one, two = LISTS[name].container, indent and f"{indent} ", indent and f"{indent}  "
    return f"{one}<rdf:{kind}{declared}>{two}<rdf:li>{escape(keyword)}</rdf:li>{one}</rdf:{kind}>"
