"""Answers in sidecars: every byte that is not ours stays, and what is no sidecar is refused."""

from __future__ import annotations

import difflib
import json
import shutil
import subprocess
import time

import pytest
from support.sidecars import DARKTABLE, DIGIKAM, IMMICH, LIGHTROOM, PROGRAMS, RDF, ROSE, TULIP

from flowercli.tagging.elements import LISTS, OWN, SUBJECT, TAGS, XmpError
from flowercli.tagging.xmp import EMPTY, Sidecar

HIERARCHY, MICROSOFT = "lr:hierarchicalSubject", "MicrosoftPhoto:LastKeywordXMP"
FORMS = {
    "as it is": str.encode,
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "BOM": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "one line": lambda text: "".join(line.strip() + " " for line in text.splitlines()).encode(),
}


def taken_away(before: bytes, after: bytes) -> list[str]:
    """Return the lines of a text that another one does not have, in their order."""
    changes = difflib.ndiff(before.decode().splitlines(keepends=True), after.decode().splitlines(keepends=True))
    return [line for line in changes if line.startswith("- ")]


def is_spread(before: bytes, after: bytes) -> bool:
    """Whether a text has all bytes of another one, in their order."""
    rest = iter(after)
    return all(byte in rest for byte in before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_of_a_sidecar_is_lost_and_the_same_answer_changes_nothing(program, form):
    before = FORMS[form](PROGRAMS[program])
    after = Sidecar(before).with_answer(ROSE)
    assert is_spread(before, after)
    if form != "one line":
        assert taken_away(before, after) == []
        assert (b"\r\n" in after) == (form == "CRLF")
        assert after.count(b"\n") == after.count(b"\r\n") or form != "CRLF"
    again = Sidecar(after)
    assert again.with_answer(ROSE) is after
    assert again.fields == ROSE.fields(again.fields["AddedTo"].split())
    assert all(keywords.count("rose") == 1 for keywords in again.keywords.values())


def test_the_lists_that_a_program_reads_get_the_keyword():
    texts = {"digiKam": DIGIKAM, "Lightroom": LIGHTROOM, "darktable": DARKTABLE, "Immich": IMMICH}
    lists = {name: list(Sidecar(Sidecar(text.encode()).with_answer(ROSE)).keywords) for name, text in texts.items()}
    assert set(lists["digiKam"]) == set(LISTS)
    # No list of digiKam's is begun beside another one, of which Immich and digiKam would see nothing any more.
    assert set(lists["Lightroom"]) == {SUBJECT, HIERARCHY}
    assert set(lists["darktable"]) == {SUBJECT, TAGS}
    assert set(lists["Immich"]) == {SUBJECT, TAGS}
    assert Sidecar(Sidecar(IMMICH.encode()).with_answer(ROSE)).keywords[TAGS] == ["People/Anna", "rose"]


def test_another_answer_takes_off_what_was_put_there_and_nothing_else():
    for text in PROGRAMS.values():
        tulip = Sidecar(Sidecar(text.encode()).with_answer(ROSE)).with_answer(TULIP)
        assert Sidecar(tulip).keywords == Sidecar(Sidecar(text.encode()).with_answer(TULIP)).keywords
        assert is_spread(text.encode(), tulip)
        assert b"rose" not in tulip
    own = DIGIKAM.replace("<rdf:li>Garden</rdf:li>", "<rdf:li>Rose</rdf:li>").encode()
    rose = Sidecar(own).with_answer(ROSE)
    assert Sidecar(rose).keywords[SUBJECT] == ["Rose"]
    assert Sidecar(rose).fields["AddedTo"].split() == [TAGS, HIERARCHY, MICROSOFT]
    assert Sidecar(Sidecar(rose).with_answer(TULIP)).keywords[SUBJECT] == ["Rose", "tulip"]
    leaf = DIGIKAM.replace("Plants/Garden", "Plants/Rose").encode()
    assert Sidecar(Sidecar(leaf).with_answer(ROSE)).keywords[TAGS] == ["Plants/Rose"]


def test_a_keyword_that_somebody_took_off_does_not_come_back():
    tagged = Sidecar(EMPTY).with_answer(ROSE)
    corrected = tagged.replace(b"<rdf:li>rose</rdf:li>", b"<rdf:li>my rose</rdf:li>")
    assert Sidecar(corrected).with_answer(ROSE) is corrected
    newer = Sidecar(corrected).with_answer(ROSE._replace(identity="ef" * 32))
    assert Sidecar(newer).keywords == {SUBJECT: ["my rose"], TAGS: ["my rose"]}
    assert Sidecar(Sidecar(newer).with_answer(TULIP)).keywords[SUBJECT] == ["my rose", "tulip"]


@pytest.mark.parametrize("text", [DIGIKAM, IMMICH])
def test_the_users_own_keyword_that_was_taken_off_does_not_come_back(text):
    own = Sidecar(text.encode()).with_answer(ROSE).replace(b">rose<", b">Rose<")
    own = own.replace(b'flowers:Keyword="rose"', b'flowers:Keyword="tulip"')  # So that all that is there is the user's.
    tagged = Sidecar(own).with_answer(ROSE)
    assert Sidecar(tagged).fields["AddedTo"] == ""
    corrected = tagged.replace(b"<rdf:li>Rose</rdf:li>", b"<rdf:li>mine</rdf:li>")
    newer = Sidecar(corrected).with_answer(ROSE._replace(identity="ef" * 32))
    assert Sidecar(newer).keywords == Sidecar(corrected).keywords
    assert Sidecar(newer).fields["ModelIdentity"] == "ef" * 32
    assert Sidecar(Sidecar(newer).with_answer(TULIP)).keywords[SUBJECT][-1] == "tulip"


def test_a_confidence_that_another_processor_rounds_otherwise_is_the_same():
    tagged = Sidecar(EMPTY).with_answer(ROSE)
    assert Sidecar(tagged).with_answer(ROSE._replace(confidence=0.9741)) is tagged
    assert Sidecar(tagged).with_answer(ROSE._replace(confidence=0.91)) != tagged


@pytest.mark.parametrize(
    "inside",
    [
        "<dc:subject><rdf:Bag/></dc:subject>",
        "<dc:subject><rdf:Bag></rdf:Bag></dc:subject>",
        "<dc:subject/>",
        "<dc:subject />",
        "<dc:subject>\n</dc:subject>",
        "<dc:subject><!-- none --><rdf:Seq><rdf:li>lake</rdf:li><!-- < --></rdf:Seq></dc:subject>",
        "<dc:subject><rdf:Bag><rdf:li><![CDATA[a > b]]></rdf:li></rdf:Bag></dc:subject>",
    ],
)
def test_lists_in_other_forms(inside):
    text = f'<r:RDF {RDF} xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about="x&amp;y"'
    text += f' xmlns:dc="http://purl.org/dc/elements/1.1/">{inside}</r:Description></r:RDF>'
    after = Sidecar(text.encode()).with_answer(ROSE)
    assert Sidecar(after).keywords[SUBJECT][-1] == "rose"
    assert after.count(b'about="x&amp;y"') == 2


@pytest.mark.parametrize(
    "rdf", [f"<rdf:RDF {RDF}/>", f"<rdf:RDF {RDF}></rdf:RDF>", f"<RDF {RDF.replace(':rdf', '')}/>"]
)
def test_sidecars_that_say_nothing_yet(rdf):
    assert Sidecar(Sidecar(rdf.encode()).with_answer(ROSE)).keywords == {SUBJECT: ["rose"], TAGS: ["rose"]}


def test_properties_that_another_program_has_written_anew_are_replaced():
    text = Sidecar(EMPTY).with_answer(ROSE).decode()
    elements = text.replace('\n    flowers:Model="garden"', "").replace(
        'digiKam:TagsList"/>', 'digiKam:TagsList"><flowers:Model>garden</flowers:Model></rdf:Description>'
    )
    mixed = elements.replace(
        'rdf:about=""\n', 'rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Make="x>y"\n'
    )
    assert Sidecar(elements.encode()).with_answer(ROSE) == elements.encode()
    for before in (elements, mixed):
        after = Sidecar(before.encode()).with_answer(TULIP)
        assert Sidecar(after).fields == TULIP.fields([SUBJECT, TAGS])
        assert after.count(b"flowers:Model=") == 1
        assert after.count(b'tiff:Make="x>y"') == mixed.count('tiff:Make="x>y"') * (before is mixed)
        assert b"garden</flowers" not in after


OURS = f'<rdf:RDF {RDF} xmlns:flowers="{OWN}">{{}}</rdf:RDF>'
MEGABYTE = 2**20
# What a megabyte of takes long where it is gone through again for each part of it; each is a sidecar.
SLOW = {
    "white space": OURS.format(f'<rdf:Description flowers:X="1"{" " * MEGABYTE} rdf:foo="a"/>'),
    "white space at the end": OURS.format(f'<rdf:Description flowers:X="1" rdf:foo="a"{" " * MEGABYTE}/>'),
    "text in pieces": OURS.format(
        f"<rdf:Description><flowers:X>{('a' * 150 + '<b/>') * 99_000}</flowers:X></rdf:Description>"
    ),
    "edits": OURS.format(f"{'<rdf:Description><flowers:X/></rdf:Description>' * 40_000}<!--{' ' * 8 * MEGABYTE}-->"),
}


@pytest.mark.parametrize("name", SLOW)
def test_what_is_built_to_take_long_does_not(name):
    started = time.process_time()
    after = Sidecar(SLOW[name].encode()).with_answer(ROSE)
    assert time.process_time() - started < 5
    assert Sidecar(after).keywords == {SUBJECT: ["rose"], TAGS: ["rose"]}
    assert b"flowers:X" not in after
    assert after.count(b"rdf:foo") == SLOW[name].count("rdf:foo")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
LIST = '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"{}</rdf:Description>'
REFUSED = {
    "document type": "<!DOCTYPE x SYSTEM 'http://example.org/x.dtd'>" + DIGIKAM.partition("?>")[2],
    "laughs": f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><x>&l9;</x>',
    "entity of a file": '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>',
    "entity": DIGIKAM.replace("Plants/", "&nbsp;"),
    "nothing": "",
    "half": DIGIKAM[:600],
    "HTML": "<html/>",
    "no namespace": DIGIKAM.replace(RDF, ""),
    "twice": DARKTABLE.replace("</rdf:RDF>", f"</rdf:RDF><rdf:RDF {RDF}/>"),
    "two lists": DIGIKAM.replace("</rdf:RDF>", LIST.format("><dc:subject/>") + "</rdf:RDF>"),
    "an attribute": DARKTABLE.replace("</rdf:RDF>", LIST.format(' dc:subject="a">') + "</rdf:RDF>"),
    "text": DARKTABLE.replace("</rdf:RDF>", LIST.format("><dc:subject>a</dc:subject>") + "</rdf:RDF>"),
    "Latin-1": DARKTABLE.replace("UTF-8", "ISO-8859-1"),
    "deep": DARKTABLE.replace("</rdf:RDF>", "<a>" * 100_000 + "</a>" * 100_000 + "</rdf:RDF>"),
    "many others": OURS.format(f"<rdf:Description>{'a<b/>' * 200_000}</rdf:Description>"),
    "many that are deep": OURS.format(f"<rdf:Description><c>{'<b/>' * 600_000}</c></rdf:Description>"),
    "many attributes": "<rdf:RDF {} {}/>".format(RDF, " ".join(f"a{n}=''" for n in range(600_000))),
    "a namespace that is long": f'<rdf:RDF {RDF} xmlns:a="{"a" * 2**20}">{"<a:b/>" * 100_000}</rdf:RDF>',
    "many": f"<rdf:RDF {RDF}>{'<rdf:Description/>' * 200_000}</rdf:RDF>",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_sidecar_is_refused_at_once(name):
    started = time.process_time()
    with pytest.raises(XmpError):
        Sidecar(REFUSED[name].encode())
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "content", [DIGIKAM.encode("utf-16"), DIGIKAM.encode("utf-16-le"), b"\xff\xfe", b"\0" * 99, "ä".encode("latin-1")]
)
def test_what_is_no_utf_8_is_refused(content):
    with pytest.raises(XmpError):
        Sidecar(content)


def written(text, tmp_path):
    sidecar = tmp_path / "IMG_1.HEIC.xmp"
    sidecar.write_bytes(Sidecar(text.encode()).with_answer(ROSE))
    return sidecar


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
@pytest.mark.parametrize("program", [*PROGRAMS, "none"])
def test_exiftool_reads_what_was_there_and_the_answer(program, tmp_path):
    before = tmp_path / "before.xmp"
    before.write_text(PROGRAMS.get(program, EMPTY.decode()), encoding="utf-8", newline="")

    def read(path):
        done = subprocess.run(["exiftool", "-j", "-G1", "-struct", path], capture_output=True, check=True, text=True)
        (found,) = json.loads(done.stdout)
        return {name: value for name, value in found.items() if name.startswith(("XMP", "ExifTool:Warning"))}

    was, now = read(before), read(written(PROGRAMS.get(program, EMPTY.decode()), tmp_path))
    assert now.get("ExifTool:Warning") == was.get("ExifTool:Warning")
    keywords = {"XMP-dc:Subject", "XMP-digiKam:TagsList", "XMP-lr:HierarchicalSubject", "XMP-microsoft:LastKeywordXMP"}
    assert {name: now[name] for name in was if name not in keywords} == {
        name: value for name, value in was.items() if name not in keywords
    }
    for name in keywords & now.keys():
        assert now[name] == [*was.get(name, []), "rose"] or now[name] == "rose" != was.get(name)
    assert (now["XMP-flowers:Keyword"], now["XMP-flowers:Confidence"]) == ("rose", 0.9759)
    assert now["XMP-flowers:ModelIdentity"] == ROSE.identity


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
def test_an_answer_is_known_again_after_exiftool_has_written_the_sidecar_anew(tmp_path):
    sidecar = written(DIGIKAM, tmp_path)
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-XMP-xmp:Rating=5", sidecar], check=True)
    again = sidecar.read_bytes()
    assert b"Image::ExifTool" in again
    assert Sidecar(again).with_answer(ROSE) is again
    tulip = Sidecar(Sidecar(again).with_answer(TULIP))
    assert tulip.keywords[SUBJECT] == ["Garden", "tulip"]
    assert tulip.fields == TULIP.fields(list(LISTS))


@pytest.mark.parametrize("program", ["digiKam", "darktable"])
def test_an_answer_is_known_again_after_exiv2_has_written_the_sidecar_anew(program, tmp_path):
    pyexiv2 = pytest.importorskip("pyexiv2", reason="needs pyexiv2")
    sidecar = written(PROGRAMS[program], tmp_path)
    with pyexiv2.Image(str(sidecar)) as image:
        image.modify_xmp({"Xmp.xmp.Rating": "5"})
    again = sidecar.read_bytes()
    assert b'xmp:Rating="5"' in again
    assert Sidecar(again).with_answer(ROSE) is again
    assert "rose" not in Sidecar(Sidecar(again).with_answer(TULIP)).keywords[SUBJECT]


@pytest.mark.parametrize("program", [*PROGRAMS, "none"])
def test_exiv2_which_digikam_and_darktable_read_with_agrees(program, tmp_path):
    pyexiv2 = pytest.importorskip("pyexiv2", reason="needs pyexiv2")
    before = tmp_path / "before.xmp"
    before.write_text(PROGRAMS.get(program, EMPTY.decode()), encoding="utf-8", newline="")
    was, now = (
        pyexiv2.Image(str(path)).read_xmp()
        for path in (before, written(PROGRAMS.get(program, EMPTY.decode()), tmp_path))
    )
    lists = {"Xmp." + name.replace(":", ".") for name in LISTS}
    assert {name: value for name, value in was.items() if name not in lists} == {
        name: now[name] for name in was if name not in lists
    }
    assert all(now[name] == [*was.get(name, []), "rose"] for name in lists & now.keys())
    assert now["Xmp.flowers.ModelIdentity"] == ROSE.identity
