"""What is fuzzed: each door for bytes of strangers, what may come of them, and what a fuzzer starts from.

A target takes bytes and returns, whatever they are; anything that it raises is a defect.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from huggingface_hub.utils import logging as hub_logging
from PIL import Image

from flowercli import description
from flowercli.bundle import Bundle
from flowercli.data.archive import Limits, extract
from flowercli.data.manifest import Manifest
from flowercli.data.sorting import listed
from flowercli.errors import ArchiveError, BundleError, DataError, HubError, ImageError, LogError
from flowercli.graph_file import check_file
from flowercli.hub.card import Card
from flowercli.inference.preprocess import PreprocessSpec, load_pixels
from flowercli.models import FOLDER
from flowercli.monitoring import log_file
from flowercli.monitoring.reference import Reference
from flowercli.serving.http.infer_request import read_request
from flowercli.serving.http.multipart import parse_form
from flowercli.serving.http.problems import Problem
from flowercli.serving.mlflow.request import RefusedError, rewritten
from flowercli.tagging.elements import LISTS, RDF, XmpError
from flowercli.tagging.receipt import changes
from flowercli.tagging.xmp import EMPTY, Record, Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPEC = PreprocessSpec.from_pretrained_cfg(
    {"input_size": [3, 64, 64], "interpolation": "bicubic", "crop_pct": 0.875, "mean": [0.5] * 3, "std": [0.5] * 3}
)
BOUNDARY = "b"
hub_logging.set_verbosity_error()  # As the commands have it.
PICTURES = 4


@dataclass(frozen=True)
class Target:
    """A function of bytes, the bytes to start from, and whether these are JSON, which is then changed as such."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    is_json: bool = False


@cache
def folder() -> Path:
    """Return a folder of this process for files that are only read by path."""
    return Path(tempfile.mkdtemp(prefix="flowers-fuzz-"))


def written(name: str, data: bytes) -> Path:
    """Write bytes into a file, and return its path."""
    path = folder() / name
    path.write_bytes(data)
    return path


def read_picture(data: bytes) -> None:
    """Read a picture: its pixels, or an error of the list."""
    with contextlib.suppress(ImageError):
        assert load_pixels(data, SPEC).shape == (64, 64, 3)


def pictures() -> list[bytes]:
    """Return a small picture of each format and mode."""
    found = []
    kinds = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
    for kind, mode in ((kind, mode) for kind in kinds for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")):
        buffer = io.BytesIO()
        with contextlib.suppress(OSError, ValueError, KeyError):
            Image.linear_gradient("L").resize((24, 16)).convert(mode).save(buffer, kind)
            found.append(buffer.getvalue())
    return found


def read_description(data: bytes) -> None:
    """Read and check a ``config.json``, and what else is read out of one that is right."""
    with contextlib.suppress(BundleError, UnicodeDecodeError):
        config = description.parse(data.decode(), Path("config.json"))
        description.check(config, Path("config.json"))
        PreprocessSpec.from_pretrained_cfg(config["pretrained_cfg"])
        json.dumps(config, allow_nan=False)


def descriptions() -> list[bytes]:
    """Return the descriptions of the models that ship, without what makes them long."""
    found = []
    for path in sorted(FOLDER.glob("*/config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        config["flowers"] |= {"metrics": {}, "history": [], "known": None, "provenance": {}}
        found.append(json.dumps(config).encode())
    return found


def read_graph(data: bytes) -> None:
    """Look through an ONNX file."""
    with contextlib.suppress(BundleError):
        check_file(written("model.onnx", data))


def graphs() -> list[bytes]:
    """Return a graph of one node, with an attribute and a tensor, field by field."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    tensor = field(8, b"weight") + b"\x10\x01" + field(9, b"\0\0\x80?")
    node = field(1, b"x") + field(2, b"y") + field(4, b"Relu") + field(5, field(1, b"axis") + b"\x18\x01")
    graph = field(1, node) + field(2, b"graph") + field(5, tensor) + field(11, field(1, b"x"))
    return [b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11"), b"\x08\x08" + field(7, field(1, field(4, b"Loop")))]


def read_manifest(data: bytes) -> None:
    """Read a split manifest, and what it would be written as."""
    with contextlib.suppress(DataError):
        manifest = Manifest.read(written("flowers-split.json", data))
        assert len(manifest.dataset_sha256) == len(manifest.sha256)
        assert Manifest.from_json(manifest.to_json(), Path("again")) == manifest


def manifests() -> list[bytes]:
    """Return a manifest with photographs and outliers."""
    photo = {"path": "rose/1.jpg", "class_name": "rose", "split": "train", "sha256": "0" * 64, "source": "a"}
    manifest = {
        "format_version": 1, "seed": 1, "ratios": [0.8, 0.1, 0.1], "stratified": False, "near_duplicates_checked": True,
        "class_names": ["daisy", "rose"], "photos": [photo, photo | {"path": "daisy/2.jpg", "class_name": "daisy"}],
        "outliers": [photo | {"class_name": "cats", "split": "test"}],
    }  # fmt: skip
    return [json.dumps(manifest).encode()]


def read_archive(data: bytes) -> None:
    """Extract an archive: plain files below its folder alone."""
    archive = written("archive", data)
    with tempfile.TemporaryDirectory(dir=folder()) as around:
        target = Path(around) / "inside"
        target.mkdir()
        with contextlib.suppress(ArchiveError):
            extract(archive, target, limits=Limits(members=1000, total=2**24, ratio=100, ratio_free=2**22))
        assert os.listdir(around) == [target.name]
        assert all(path.is_dir() or path.is_file() for path in target.rglob("*") if not path.is_symlink())
        assert not any(path.is_symlink() for path in target.rglob("*"))


def archives() -> list[bytes]:
    """Return the same two files as a zip and as tar, plain and packed."""
    files = {"data/rose/1.jpg": b"x" * 700, "data/daisy/2.jpg": b"y"}
    found = []
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        found.append(buffer.getvalue())
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as file:
            for name, content in files.items():
                file.writestr(name, content)
        found.append(buffer.getvalue())
    return found


def read_sorted(data: bytes) -> None:
    """Read the list of pictures that were sorted into folders."""
    path = written("undo.jsonl", data)
    with contextlib.suppress(DataError):
        assert all(folder().resolve() in done.target.parents for done in listed(path))


def sorted_lists() -> list[bytes]:
    """Return a list of two pictures."""
    row = {"did": "moved", "from": "/photos/1.jpg", "to": "rose/1.jpg", "size": 10, "mtime_ns": 1}
    return ["".join(json.dumps(each) + "\n" for each in (row, row | {"did": "copied"})).encode()]


def read_receipt(data: bytes) -> None:
    """Read the receipt of sidecars that were written."""
    path = written("receipt.jsonl", data)
    with contextlib.suppress(DataError):
        assert all(folder().resolve() in change.sidecar.parents for change in changes(path))


def receipts() -> list[bytes]:
    """Return a receipt of a new sidecar, and of one that was there."""
    row = {"did": "tagged", "in": "/photos", "file": "1.jpg.xmp", "before": None, "sha256": "ab" * 32}
    return ["".join(json.dumps(each) + "\n" for each in (row, row | {"before": "YQ=="})).encode()]


def read_sidecar(data: bytes) -> None:
    """Put an answer into a sidecar, and another one in its place."""
    record = Record("rose", "Rosa", 0.9, "garden", "ab" * 32, "model.onnx")
    with contextlib.suppress(XmpError):
        tagged = Sidecar(data).with_answer(record)
        assert Sidecar(tagged).with_answer(record) is tagged
        Sidecar(tagged).with_answer(record._replace(keyword="tulip"))


def sidecars() -> list[bytes]:
    """Return an empty one, one with an answer, and one with keywords in each list."""
    tagged = Sidecar(EMPTY).with_answer(Record("daisy", "", 0.9, "garden", "cd" * 32, "model.onnx"))
    spaces = "".join(f' xmlns:{name.partition(":")[0]}="{one.space}"' for name, one in LISTS.items())
    lists = "".join(f"<{name}><rdf:Bag><rdf:li>a</rdf:li></rdf:Bag></{name}>" for name in LISTS)
    full = f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description{spaces}>{lists}</rdf:Description></rdf:RDF>'
    return [EMPTY, tagged, full.encode()]


def read_card(data: bytes) -> None:
    """Read a model card, and state a licence in it."""
    with contextlib.suppress(HubError):
        card = Card(data, corrected=True)
        card.check()
        assert isinstance(card.has_text, bool)
        if card.license_id != "mit":
            assert card.stating("mit").license_id == "mit"


def cards() -> list[bytes]:
    """Return a card with a head."""
    return [b"---\nlicense: mit\ntags: [a, b]\n---\n# Name\n", b"# Name\n", b"---\nmodel-index:\n- name: x\n---\n"]


def read_log(data: bytes) -> None:
    """Read a log of answers."""
    path = written("log.db", data)
    with contextlib.suppress(LogError):
        for model in log_file.models_in(path):
            log_file.read(path, model.identity)


def logs() -> list[bytes]:
    """Return a log of two answers."""
    path = folder() / "seed.db"
    path.unlink(missing_ok=True)
    connection = log_file.open_to_write(path)
    model = log_file.LoggedModel("identity", "name", "graph", ("daisy", "rose"), 0)
    rows = [(1.7e9, None, 1, 0.9, 0.8, 0, 640, 480, 0.5), (1.7e9, "id", 0, 0.4, 0.2, 1, 640, 480, 0.5)]
    log_file.append(connection, model, rows, 10)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return [path.read_bytes()]


def read_reference(data: bytes) -> None:
    """Read the reference of a bundle that lists it as it is."""
    bundle = _bundle()
    written("reference.npz", data)
    with contextlib.suppress(BundleError):
        Reference.read(bundle)


@cache
def _bundle() -> Bundle:
    shipped = Bundle.load(FOLDER / "flowers5")

    class Unchecked(Bundle):
        def file(self, name: str) -> Path:
            return folder() / name

    return Unchecked(folder(), shipped.config)


def references() -> list[bytes]:
    """Return a small reference."""
    buffer = io.BytesIO()
    columns = {name: np.zeros(2) for name in ("class_index", "confidence", "known", "brightness", "width", "height")}
    np.savez(buffer, version=np.array(2), graph=np.array("g"), **columns)
    return [buffer.getvalue()]


def read_form(data: bytes) -> None:
    """Read a form of files."""
    with contextlib.suppress(Problem):
        parse_form(f"multipart/form-data; boundary={BOUNDARY}", data, PICTURES)


def forms() -> list[bytes]:
    """Return a form with two files."""
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\nxyz\r\n'
    return [part * 2 + b"--b--\r\n"]


def read_infer(data: bytes) -> None:
    """Read a request of the Open Inference Protocol; its first byte says how much of it is JSON."""
    length = None if not data or data[0] == 0 else str(data[0] * 4)
    with contextlib.suppress(Problem):
        asyncio.run(read_request(data[1:], length, SPEC, PICTURES))


def infers() -> list[bytes]:
    """Return requests with a picture in JSON, and in binary."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}
    plain = json.dumps({"id": "1", "inputs": [tensor], "outputs": [{"name": "probabilities"}]}).encode()
    del tensor["data"]
    tensor["parameters"] = {"binary_data_size": 9}
    binary = json.dumps({"inputs": [tensor]}).encode()
    binary += b" " * (-len(binary) % 4)
    return [b"\0" + plain, bytes([len(binary) // 4]) + binary + b"\x05\0\0\0hello"]


def read_invocation(data: bytes) -> None:
    """Read a request of MLflow's."""
    with contextlib.suppress(RefusedError):
        json.loads(rewritten(data, PICTURES))


def invocations() -> list[bytes]:
    """Return MLflow's four forms."""
    record = {"image": "aGVsbG8="}
    forms = {"instances": ["a"], "inputs": ["a"], "dataframe_records": [record]}
    forms["dataframe_split"] = {"columns": ["image"], "data": [["a"]]}
    return [json.dumps({form: value, "params": {"top_k": 2}}).encode() for form, value in forms.items()]


TARGETS = {
    "reader": Target(read_picture, pictures),
    "config": Target(read_description, descriptions, is_json=True),
    "graph": Target(read_graph, graphs),
    "manifest": Target(read_manifest, manifests, is_json=True),
    "archive": Target(read_archive, archives),
    "sorted": Target(read_sorted, sorted_lists),
    "receipt": Target(read_receipt, receipts, is_json=True),
    "sidecar": Target(read_sidecar, sidecars),
    "card": Target(read_card, cards),
    "log": Target(read_log, logs),
    "reference": Target(read_reference, references),
    "multipart": Target(read_form, forms),
    "infer": Target(read_infer, infers),
    "invocations": Target(read_invocation, invocations, is_json=True),
}


def corpus(name: str) -> Iterator[bytes]:
    """Yield what a target starts from, and what once broke it."""
    yield from TARGETS[name].seeds()
    yield from (path.read_bytes() for path in sorted((Path(__file__).parent / "corpus" / name).glob("*")))
