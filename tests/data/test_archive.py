"""Archives: good ones come out whole, and hostile ones are refused with nothing written outside or left behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zipfile

import pytest

from flowercli.atomic import new_folder
from flowercli.data.archive import Limits, extract
from flowercli.errors import ArchiveError

PHOTO = bytes(range(256)) * 8
SMALL = Limits(members=50, total=2**20, ratio=100, ratio_free=2**19)


def tar_of(*members, mode="w", trailer=True):
    """Return a tar of ``(name, content, changes)``; a member of ``None`` content is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        for name, content, *changes in members:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            for key, value in dict(*changes).items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content or b""))
        end = tar.offset
    return buffer.getvalue() if trailer else buffer.getvalue()[:end]


def zip_of(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, *changes in members:
            member = zipfile.ZipInfo("x")
            member.filename = member.orig_filename = name
            for key, value in dict(*changes).items():
                setattr(member, key, value)
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def with_nul(archive):
    """Put a NUL into a name that zipfile itself would not write."""
    return archive.replace(b"daisy/0jpg", b"daisy/\0jpg")


def with_flag(archive):
    """Mark the members of a zip as encrypted."""
    changed = bytearray(archive)
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[archive.index(magic) + place] |= 1
    return bytes(changed)


def with_long_head(size):
    """Return a tar whose first member is a PAX head of so many bytes."""
    head = tarfile.TarInfo("head")
    head.type, head.size = tarfile.XHDTYPE, size
    return head.tobuf() + b"\0" * 4096


def chained(kind, times):
    """Return a tar with so many heads of a kind before its one member."""
    content = b"8 a=bc\n\0" if kind in b"xg" else b"daisy/1\0"
    head = tarfile.TarInfo("head")
    head.type, head.size = kind, 7 if kind in b"xg" else 8
    one = head.tobuf(tarfile.USTAR_FORMAT) + content.ljust(tarfile.BLOCKSIZE, b"\0")
    return one * times + tar_of(("daisy/1.jpg", PHOTO))


def zip_directory(count, stated=1):
    """Return a zip whose directory has ``count`` members and says that it has fewer."""
    start, end = b"PK\x03\x04" + bytes(27), b"PK\x05\x06" + bytes(4)
    entries = b"".join(
        struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0)
        + b"%06x" % number
        for number in range(count)
    )
    return start + entries + end + struct.pack("<2H2LH", stated, stated, len(entries), len(start), 0)


def damaged_between(archive):
    """Overwrite the head of the second member: tarfile takes that for the end."""
    second = archive.index(b"daisy/2.jpg")
    return archive[:second] + b"\xff" * 100 + archive[second + 100 :]


GOOD = (("daisy", None), ("daisy/1.jpg", PHOTO), ("./rose/2.jpg", PHOTO))
TWO = (("daisy/1.jpg", PHOTO), ("daisy/2.jpg", PHOTO))
SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.size": "x"}
SPARSE_MAP = SPARSE | {"GNU.sparse.map": "0,x"}
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
HOSTILE = {
    "absolute path": (tar_of(("/evil.jpg", PHOTO)), "absolute path"),
    "absolute path in a zip": (zip_of(("/evil.jpg", PHOTO)), "absolute path"),
    "parent": (tar_of(("../evil.jpg", PHOTO)), "leads out"),
    "parent further in": (tar_of(("daisy/../../evil.jpg", PHOTO)), "leads out"),
    "parent in a zip": (zip_of(("daisy/../../evil.jpg", PHOTO)), "leads out"),
    "parent folder": (tar_of(("../evil", None)), "leads out"),
    "stream": (tar_of(("daisy/1.jpg:evil", PHOTO)), "Windows does not allow"),
    "device": (tar_of(("daisy/NUL.jpg", PHOTO)), "name of a device"),
    "console": (tar_of(("daisy/CONOUT$.jpg", PHOTO)), "name of a device"),
    "trailing dot": (tar_of(("daisy./1.jpg", PHOTO)), "ends in a dot or a space"),
    "text turned round": (tar_of(("daisy/\u202egpj.exe", PHOTO)), "turns or breaks the text"),
    "line separator": (tar_of(("daisy/a\u2028b.jpg", PHOTO)), "turns or breaks the text"),
    "symbolic link": (tar_of(("daisy/1.jpg", b"", LINK)), "link to '/etc/passwd'"),
    "link to the inside, then through it": (
        tar_of(("a", b"", LINK | {"linkname": ".."}), ("a/evil.jpg", PHOTO)),
        "link",
    ),
    "hard link": (tar_of(("x", b"", {"type": tarfile.LNKTYPE, "linkname": "../../evil"})), "link"),
    "symbolic link in a zip": (zip_of(("x", "/etc/passwd", {"external_attr": 0o120777 << 16})), "link"),
    "character device": (tar_of(("x", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5})), "device"),
    "block device": (tar_of(("x", b"", {"type": tarfile.BLKTYPE, "devmajor": 8})), "device"),
    "named pipe": (tar_of(("x", b"", {"type": tarfile.FIFOTYPE})), "named pipe"),
    "named pipe in a zip": (zip_of(("x", b"", {"external_attr": 0o010644 << 16})), "neither a plain file"),
    "unknown type": (tar_of(("x", b"", {"type": b"Z"})), None),
    "backslash": (tar_of(("..\\evil.jpg", PHOTO)), "backslash"),
    "backslash in a zip": (zip_of(("..\\evil.jpg", PHOTO)), "backslash"),
    "drive letter": (tar_of(("C:evil.jpg", PHOTO)), "drive letter"),
    "NUL": (with_nul(zip_of(("daisy/0jpg", PHOTO))), "control character"),
    "escape sequence": (tar_of(("daisy/\x1b[2J.jpg", PHOTO)), "control character"),
    "line break": (tar_of(("daisy/1\n.jpg", PHOTO)), "control character"),
    "not UTF-8": (tar_of(("daisy/\udcff.jpg", PHOTO)), "not UTF-8"),
    "no name": (tar_of(("./.", PHOTO)), "without a name"),
    "long name": (tar_of(("daisy/" + "x" * 300, PHOTO)), "too long"),
    "deep folders": (tar_of(("a/" * 20 + "1.jpg", PHOTO)), "folders deep"),
    "the same file twice": (tar_of(TWO[0], TWO[0]), "twice"),
    "differs in case": (tar_of(("daisy/A.jpg", PHOTO), ("daisy/a.jpg", PHOTO)), "only in case"),
    "folders that differ in case": (tar_of(("Daisy/1.jpg", PHOTO), ("daisy/2.jpg", PHOTO)), "only in case"),
    "differs in normal form": (tar_of(("\u00e9.jpg", PHOTO), ("e\u0301.jpg", PHOTO)), "only in case"),
    "file, then folder": (tar_of(("daisy", PHOTO), ("daisy/1.jpg", PHOTO)), "both a file and a folder"),
    "folder, then file": (tar_of(("daisy/1.jpg", PHOTO), ("daisy", PHOTO)), "both a file and a folder"),
    "too many members": (tar_of(*((f"daisy/{n}.jpg", b"x") for n in range(51))), "more than 50 members"),
    "too many members in a zip": (zip_of(*((f"daisy/{n}.jpg", b"x") for n in range(51))), "more than 50 members"),
    "too many bytes": (tar_of(*((f"daisy/{n}.jpg", bytes(2**18)) for n in range(6))), "unpacks to more"),
    "bomb": (gzip.compress(tar_of(("daisy/1.jpg", bytes(2**22)))), "unpacks to more"),
    "bomb of bzip2": (bz2.compress(tar_of(("daisy/1.jpg", bytes(2**22)))), "unpacks to more"),
    "bomb of xz": (lzma.compress(tar_of(("daisy/1.jpg", bytes(2**22)))), "unpacks to more"),
    "bomb in a zip": (zip_of(("daisy/1.jpg", bytes(2**22))), "unpacks to more"),
    "bomb after the last member": (gzip.compress(tar_of(*TWO) + bytes(2**22)), "unpacks to more"),
    "folders that no member is": (tar_of(*((f"{n}/a/b/c/1.jpg", b"x") for n in range(12))), "more than 50 members"),
    "folders of folders": (tar_of(*((f"{n}/a/b/c", None) for n in range(14))), "more than 50 members"),
    "folders that no member is, in a zip": (zip_of(*((f"{n}/a/b/c/1.jpg", b"x") for n in range(12))), "more than 50"),
    "chain of heads for all": (chained(b"g", 3000), "unlikely head"),
    "chain of heads for one": (chained(b"x", 3000), "unlikely head"),
    "chain of long names": (chained(b"L", 3000), "unlikely head"),
    "directory that hides its length": (zip_directory(51), "more than 50 members"),
    "directory of many bytes": (zip_directory(30000), "more than 50 members"),
    "name in a zip that is no UTF-8": (zip_of(("\u00ff/1.jpg", PHOTO)).replace(b"\xc3\xbf", b"\xff\xfe"), "damaged"),
    "long head": (with_long_head(2**31), "unlikely head"),
    "sparse file": (tar_of(("x", b"", {"pax_headers": {"GNU.sparse.map": "0,0", "GNU.sparse.size": "99"}})), None),
    "sparse file with a damaged map": (tar_of(("x", b"", {"pax_headers": SPARSE_MAP})), "damaged"),
    "sparse file of no size, further in": (tar_of(TWO[0], ("x", b"", {"pax_headers": SPARSE})), "damaged"),
    "encrypted zip": (with_flag(zip_of(("daisy/1.jpg", PHOTO))), "encrypted"),
    "wrong sum in a zip": (zip_of(("daisy/1.jpg", b"x" * 99)).replace(struct.pack("<I", 99), b"\0\0\0\0"), None),
    "truncated tar": (tar_of(*TWO)[:3000], "damaged"),
    "tar without an end": (tar_of(*TWO, trailer=False), "damaged"),
    "tar that is damaged between two files": (damaged_between(tar_of(*TWO)), "damaged"),
    "truncated gzip": (gzip.compress(tar_of(*TWO))[:-20], "damaged"),
    "gzip with a wrong sum": (gzip.compress(tar_of(*TWO))[:-8] + b"\0" * 8, "damaged"),
    "truncated xz": (lzma.compress(tar_of(*TWO))[:-30], "damaged"),
    "truncated zip": (zip_of(*TWO)[:-30], "damaged"),
    "no archive": (b"<html>Not here, sorry</html>" * 99, "neither a tar nor a zip"),
    "compressed, but no archive": (gzip.compress(b"hello" * 999), "neither a tar nor a zip"),
    "nothing": (b"", "neither a tar nor a zip"),
    "no files": (tar_of(("daisy", None), ("rose", None)), "no files"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive_is_refused(kind, tmp_path):
    content, expected = HOSTILE[kind]
    archive = tmp_path / "archives" / "archive"
    archive.parent.mkdir()
    archive.write_bytes(content)
    inside = tmp_path / "inside"
    with pytest.raises(ArchiveError) as caught, new_folder(inside / "target") as folder:
        extract(archive, folder, limits=SMALL)
    assert expected is None or expected in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint
    assert not any(inside.iterdir()), "something was left behind"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "inside"], "something was written outside"


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gzip", "bzip2", "xz"]
)
def test_tar_comes_out_whole(pack, tmp_path):
    (tmp_path / "archive").write_bytes(pack(tar_of(*GOOD)))
    folder = tmp_path / "folder"
    folder.mkdir()
    written = []
    assert extract(tmp_path / "archive", folder, progress=written.append) == 2
    assert (folder / "daisy" / "1.jpg").read_bytes() == PHOTO
    assert (folder / "rose" / "2.jpg").read_bytes() == PHOTO
    assert sum(written) == 2 * len(PHOTO)


def test_zip_comes_out_whole_without_what_macos_adds(tmp_path):
    content = zip_of(("daisy/1.jpg", PHOTO), ("rose/", b""), ("rose/2.jpg", PHOTO), ("__MACOSX/daisy/._1.jpg", b"x"))
    (tmp_path / "archive").write_bytes(content)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert extract(tmp_path / "archive", folder) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["daisy", "rose"]


def test_names_of_a_zip_are_utf8_where_they_are_that_and_cp437_else(tmp_path):
    flagged = zip_of(("Löwe/1.jpg", PHOTO))
    unflagged = bytearray(flagged)  # As Info-ZIP's zip writes it on Linux.
    for magic, place in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        assert unflagged[unflagged.index(magic) + place] == 0x08
        unflagged[unflagged.index(magic) + place] = 0
    cp437 = zip_of(("L?we/1.jpg", PHOTO)).replace(b"L?we", b"L\x94we")
    for number, content in enumerate((flagged, unflagged, cp437)):
        (tmp_path / "archive").write_bytes(content)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert extract(tmp_path / "archive", folder) == 1
        assert (folder / "Löwe" / "1.jpg").read_bytes() == PHOTO
    unflagged = unflagged.replace("Löwe".encode(), "\u202eab".encode())
    (tmp_path / "archive").write_bytes(unflagged)
    with pytest.raises(ArchiveError, match="refused"), new_folder(tmp_path / "none") as folder:
        extract(tmp_path / "archive", folder)


def test_nothing_but_names_and_bytes_comes_through(tmp_path):
    odd = {"mode": 0o6777, "uid": 12345, "gid": 12345, "mtime": 1}
    (tmp_path / "archive").write_bytes(tar_of(("daisy", None, odd), ("daisy/1.jpg", PHOTO, odd)))
    folder = tmp_path / "folder"
    folder.mkdir()
    extract(tmp_path / "archive", folder)
    for path in (folder / "daisy", folder / "daisy" / "1.jpg"):
        state = path.stat()
        assert not state.st_mode & 0o6022
        assert state.st_uid != 12345
        assert state.st_mtime > 1000


def test_a_full_disk_is_not_a_damaged_archive(tmp_path):
    """What the disk says is passed on as it is."""
    (tmp_path / "archive").write_bytes(tar_of(*GOOD))
    (tmp_path / "folder").write_text("no folder", encoding="utf-8")
    with pytest.raises(OSError, match="folder"):
        extract(tmp_path / "archive", tmp_path / "folder")


def test_heads_for_all_members_are_not_kept(tmp_path):
    """Each has keys of its own, and all of them would be copied for each member that follows."""
    members = []
    for number in range(8):
        content = b"".join(b"%d k%06d=\n" % (len(b"11 k000000=\n"), number * 20000 + key) for key in range(20000))
        head = tarfile.TarInfo("head")
        head.type, head.size = tarfile.XGLTYPE, len(content)
        members.append(head.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE))
        members.append(tar_of((f"daisy/{number}.jpg", b"x"), trailer=False))
    (tmp_path / "archive").write_bytes(b"".join(members) + bytes(2 * tarfile.BLOCKSIZE))
    (tmp_path / "folder").mkdir()
    tracemalloc.start()
    try:
        assert extract(tmp_path / "archive", tmp_path / "folder") == 8
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_the_heads_that_real_archives_have_are_read(tmp_path):
    """One for all, and for each member its long name, its long link and its own."""
    kinds = b"".join(chained(kind, 1)[: 2 * tarfile.BLOCKSIZE] for kind in (b"g", b"K", b"L", b"x"))
    (tmp_path / "archive").write_bytes(kinds + tar_of(("daisy/1.jpg", PHOTO)))
    (tmp_path / "folder").mkdir()
    assert extract(tmp_path / "archive", tmp_path / "folder") == 1
