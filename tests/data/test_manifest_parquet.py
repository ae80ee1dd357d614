"""Manifests of many photographs: columns, Parquet, one reader, and what somebody else's file may not say."""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import shutil
import sys

import numpy as np
import pytest

from flowercli.bundle import Bundle, add_files
from flowercli.data import places
from flowercli.data.columns import Repeated, Texts, digests, repeated
from flowercli.data.manifest import Entry, Manifest, entry_table
from flowercli.data.places import find_manifest, manifest_path
from flowercli.errors import DataError, MissingExtraError

pa = pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
pq = pytest.importorskip("pyarrow.parquet")
CLASSES = tuple(f"class {number}" for number in range(300))


def entries(count, classes=CLASSES):
    draw = random.Random(count)
    for number in range(count):
        name, split = draw.choice(classes), draw.choice(("train", "val", "test"))
        hashes = f"{draw.getrandbits(256):064x}", "a" * (number % 3), draw.choice((None, 0, draw.getrandbits(64)))
        yield Entry(f"{name}/Blüte 🌼 {number}.jpg", name, split, *hashes)


@pytest.fixture(scope="module")
def manifest():
    outliers = entry_table(entries(40, ("cats", "leaves")))
    how = {"seed": 3, "ratios": (0.8, 0.1, 0.1), "stratified": True, "near_duplicates_checked": False}
    unreadable = ("class 1/cut.jpg", "class 2/Ü.jpg")
    return Manifest(
        **how, class_names=CLASSES, photos=entry_table(entries(70_000)), outliers=outliers, unreadable=unreadable
    )


def test_columns_are_the_lists_that_they_hold():
    texts = [f"{'é' * (number % 7)}{number}\ud800" for number in range(1000)]
    hashes = [f"{number:064x}" for number in range(1000)]
    for column, values in ((Texts(), texts), (Repeated(), texts), (digests(), hashes)):
        column.extend(values)
        assert list(column) == values == column
        assert [column[place] for place in (0, 999, -1)] == [values[0], values[999], values[-1]]
        assert column[10:900:7] == values[10:900:7]
        assert column + values[:3] == values + values[:3]
        assert column != values[:-1]
        assert pickle.loads(pickle.dumps(column)) == values  # noqa: S301  (ours, for a worker)
        with pytest.raises(IndexError):
            column[1000]


def test_what_is_there_more_than_once():
    keys = np.random.default_rng(0).integers(0, 1000, 1500)
    values, counts = np.unique(keys, return_counts=True)
    assert repeated(keys).tolist() == np.flatnonzero(np.isin(keys, values[counts > 1])).tolist()
    assert repeated(keys[:0]).tolist() == repeated(keys[:1]).tolist() == []


def test_both_forms_hold_the_same(manifest, tmp_path):
    for name in ("split.json", "split.parquet"):
        manifest.write(tmp_path / name)
        found = Manifest.read(tmp_path / name)
        assert found == manifest
        assert (found.sha256, found.dataset_sha256) == (manifest.sha256, manifest.dataset_sha256)
    found.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "split.json").read_bytes()
    assert 4 * (tmp_path / "split.parquet").stat().st_size < (tmp_path / "split.json").stat().st_size
    table = pq.read_table(tmp_path / "split.parquet")
    assert str(table.schema.field("sha256").type) == "fixed_size_binary[32]"
    assert pa.types.is_dictionary(table.schema.field("class_name").type)


def test_counts_and_splits_are_those_of_the_rows(manifest):
    rows = list(manifest.photos)
    assert list(manifest.of_split("val")) == [row for row in rows if row.split == "val"]
    counts = manifest.counts("test")
    assert list(counts) == list(CLASSES)
    assert counts["class 7"] == sum(row.class_name == "class 7" and row.split == "test" for row in rows)


def with_column(name, change):
    def changed(table):
        place = table.schema.names.index(name)
        values = table.column(name).to_pylist()
        change(values)
        return table.set_column(place, name, pa.array(values))

    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_column("path", lambda rows: rows.__setitem__(65_540, "../x")), r"photos\[65540\].path leads out"),
        (with_column("path", lambda rows: rows.__setitem__(3, "/x")), r"photos\[3\].path has an absolute path"),
        (with_column("path", lambda rows: rows.__setitem__(3, "./")), r"photos\[3\].path has no name"),
        (with_column("path", lambda rows: rows.__setitem__(69_000, rows[5])), r"photos\[69000\].path is that of pho"),
        (with_column("path", lambda rows: rows.__setitem__(3, None)), "rows 0 to 65535 lack a value"),
        (with_column("split", lambda rows: rows.__setitem__(9, "valid")), r"photos\[9\].split is \"valid\""),
        (with_column("class_name", lambda rows: rows.__setitem__(9, "oak")), "which class_names does not list"),
        (with_column("class_name", lambda rows: rows.__setitem__(-1, "../x")), r"outliers\[39\].class_name is no name"),
        (with_column("sha256", lambda rows: rows.__setitem__(9, b"short")), "damaged"),
        (with_column("path", lambda rows: rows.__setitem__(slice(None), [["a"]] * len(rows))), "damaged"),
        (with_column("perceptual_hash", lambda rows: rows.__setitem__(slice(None), [-1] * len(rows))), "damaged"),
        (with_column("perceptual_hash", lambda rows: rows.__setitem__(slice(None), ["a"] * len(rows))), "damaged"),
        (with_column("perceptual_hash", lambda rows: rows.__setitem__(slice(None), [[1]] * len(rows))), "damaged"),
        (lambda table: table.drop(["source"]), "it has no column source"),
        (lambda table: table.replace_schema_metadata({}), "it is Parquet, and no split manifest"),
        (lambda table: table.replace_schema_metadata({"flowers": "{}"}), "line 1: format_version is missing"),
    ],
)
def test_a_file_from_elsewhere_is_checked_row_by_row(manifest, tmp_path, change, said):
    path = tmp_path / "split.parquet"
    manifest.write(path)
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(DataError, match=said):
        Manifest.read(path)


def test_damage_is_told(manifest, tmp_path):
    path = tmp_path / "split.parquet"
    manifest.write(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged, said in ((whole[:-100], "cannot be read"), (b"PAR1", "cannot be read"), (flipped, "is damaged: ")):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=said):
            Manifest.read(path)


def test_what_other_programs_write_is_read(manifest, tmp_path):
    """Text that is not in dictionaries, and the rows in another order."""
    path = tmp_path / "split.parquet"
    manifest.write(path)
    table = pq.read_table(path)
    plain = {name: table.column(name).cast(pa.string()) for name in ("class_name", "split", "source")}
    for name, column in plain.items():
        table = table.set_column(table.schema.names.index(name), name, column)
    order = random.Random(0).sample(range(len(table)), len(table))
    pq.write_table(table.take(order), path)
    found = Manifest.read(path)
    assert sorted(map(dataclasses.astuple, found.photos)) == sorted(map(dataclasses.astuple, manifest.photos))
    assert len(found.outliers) == 40


def test_a_manifest_of_before_has_no_hashes(manifest, tmp_path):
    path = tmp_path / "split.parquet"
    manifest.write(path)
    pq.write_table(pq.read_table(path).drop(["perceptual_hash"]), path)
    found = Manifest.read(path)
    assert set(found.photos.columns["perceptual_hash"]) == {None}
    assert [photo.sha256 for photo in found.photos] == [photo.sha256 for photo in manifest.photos]


def test_split_writes_the_form_that_fits_and_one_alone(own_dataset, run, monkeypatch):
    beside = {"flowers-split.json", "flowers-split.parquet"}
    assert run("split", own_dataset).code == 0
    first = Manifest.read(find_manifest(own_dataset))
    monkeypatch.setattr(places, "MOST_IN_JSON", 50)
    done = run("split", own_dataset)
    assert done.code == 0
    assert f"Manifest: {own_dataset / 'flowers-split.parquet'}" in done.err
    assert beside & {path.name for path in own_dataset.iterdir()} == {"flowers-split.parquet"}
    assert Manifest.read(find_manifest(own_dataset)) == first
    monkeypatch.undo()
    assert run("split", own_dataset).code == 0
    assert beside & {path.name for path in own_dataset.iterdir()} == {"flowers-split.json"}
    # Killed between writing one and removing the other, the newer one counts.
    first.write(own_dataset / "flowers-split.parquet")
    assert find_manifest(own_dataset).suffix == ".parquet"


def test_without_pyarrow_it_is_json_and_parquet_is_told(manifest, tmp_path, monkeypatch):
    manifest.write(tmp_path / "split.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="needs the package 'pyarrow'") as told:
        Manifest.read(tmp_path / "split.parquet")
    assert "[batch]" in told.value.hint
    monkeypatch.setattr(places.importlib.util, "find_spec", lambda _name: None)
    assert manifest_path(tmp_path, 10**6).name == "flowers-split.json"


def test_a_bundle_may_have_either(trained, tmp_path, run, dataset):
    copy = Bundle.load(shutil.copytree(trained, tmp_path / "copy"))
    json_form = Manifest.read(copy.manifest_file)
    json_form.write(tmp_path / "split.parquet")
    (copy.path / "split.json").unlink()
    config = json.loads((copy.path / "config.json").read_text())
    del config["flowers"]["files"]["split.json"]
    (copy.path / "config.json").write_text(json.dumps(config))
    other = add_files(Bundle.load(copy.path), {"split.parquet": tmp_path / "split.parquet"})
    assert Manifest.read(other.manifest_file) == json_form
    both = [run("eval", path, "--data", dataset, "--split", "val", "--json") for path in (trained, copy.path)]
    assert [done.code for done in both] == [0, 0], both[1].err
    assert json.loads(both[0].out)["variants"] == json.loads(both[1].out)["variants"]
