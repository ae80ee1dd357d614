"""The split manifest of millions of photographs as Parquet, read and written some thousands of rows at a time.

A row a photograph: ``path``, ``class_name``, ``split``, ``sha256`` as 32 bytes, ``source``, whether it is an
``outlier``, and its ``perceptual_hash``, if that is known and the column there. The metadata ``flowers`` is the JSON
manifest that says all else, without its photographs.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from flowercli.data.columns import Column, Packed, Repeated, Table, Texts, keys_of, repeated
from flowercli.data.inside import leads_outside
from flowercli.data.manifest_file import wrong_entry
from flowercli.data.split import SPLITS

MAGIC = b"PAR1"
HEAD = b"flowers"
OUTLIER, HASH = "outlier", "perceptual_hash"
# As `columns.perceptual_hashes` packs one.
HASH_BYTES = np.dtype([("known", "?"), ("value", "<u8")])
ROWS = 2**16
# What somebody else's file may claim: rows, and bytes of those that come at once.
MOST_ROWS, MOST_BYTES = 10**8, 2**30


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet.

    Raises:
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # A pipe would never end.
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def write(path: Path, head: str, photos: Table[Any], outliers: Table[Any]) -> None:
    """Write a manifest.

    Args:
        path: the file.
        head: the JSON of the manifest without its photographs.
        photos: entries, in order.
        outliers: likewise.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(pa).with_metadata({HEAD: head.encode()})
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for table, is_outlier in ((photos, False), (outliers, True)):
            for start in range(0, len(table), ROWS):
                stop = min(start + ROWS, len(table))
                columns = [_arrow(pa, table.columns[name], start, stop) for name in schema.names[:-2]]
                columns += [pa.array([is_outlier] * (stop - start)), _hashes(pa, table.columns[HASH], start, stop)]
                writer.write_batch(pa.record_batch(columns, schema=schema))


def read_head(path: Path) -> str:
    """Return the JSON of a manifest without its photographs.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or no manifest.
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    if HEAD not in (metadata.metadata or {}):
        raise ValueError("it is Parquet, and no split manifest")
    sizes = (metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
    if metadata.num_rows > MOST_ROWS or max(sizes, default=0) > MOST_BYTES:
        raise ValueError(f"it claims {metadata.num_rows:,} rows in {metadata.num_row_groups} pieces, which is too much")
    return str(metadata.metadata[HEAD].decode())


def read_rows(path: Path, class_names: Collection[str], photos: Table[Any], outliers: Table[Any]) -> None:
    """Read the photographs into ``photos`` and ``outliers``.

    Raises:
        OSError: it cannot be read.
        ValueError: what is wrong, and in which row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    schema, row = _schema(pa), 0
    lists = {False: ("photos", frozenset(class_names), photos), True: ("outliers", None, outliers)}
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = [name for name in schema.names if name != HASH or name in file.schema_arrow.names]
        if missing := [name for name in names if name not in file.schema_arrow.names]:
            raise ValueError(f"it has no column {missing[0]}")
        # Piece by piece: asked for all of them, pyarrow holds the whole file.
        pieces = ([place] for place in range(file.num_row_groups))
        for batch in chain.from_iterable(file.iter_batches(ROWS, piece, names) for piece in pieces):
            if any(batch[name].null_count for name in names if name != HASH):
                raise ValueError(f"rows {row} to {row + len(batch) - 1} lack a value")
            for is_outlier, into in lists.items():
                some = batch.filter(pc.equal(batch[OUTLIER].cast(pa.bool_()), is_outlier))
                _read_batch(pa, some, *into)
            row += len(batch)
    for name, _, table in lists.values():
        _check_distinct(name, table.columns["path"])


def _schema(pa: Any) -> Any:
    text = pa.dictionary(pa.int32(), pa.string())
    kinds = {"path": pa.large_string(), "class_name": text, "split": text, "sha256": pa.binary(32), "source": text}
    fields = [pa.field(name, kind, nullable=False) for name, kind in {**kinds, OUTLIER: pa.bool_()}.items()]
    return pa.schema([*fields, pa.field(HASH, pa.uint64())])


def _arrow(pa: Any, column: Column[str], start: int, stop: int) -> Any:
    """Return some values of a column, which Arrow reads where they are."""
    if isinstance(column, Texts):
        ends = pa.py_buffer(memoryview(column.ends)[start : stop + 1])
        return pa.LargeStringArray.from_buffers(stop - start, ends, pa.py_buffer(column.utf8))
    if isinstance(column, Repeated):
        places = np.array(column.places[start:stop], dtype=np.int32)
        return pa.DictionaryArray.from_arrays(places, pa.array(column.values, pa.string()))
    assert isinstance(column, Packed)
    content = bytes(memoryview(column.content)[32 * start : 32 * stop])
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), stop - start, [None, pa.py_buffer(content)])


def _hashes(pa: Any, column: Column[int | None], start: int, stop: int) -> Any:
    assert isinstance(column, Packed)
    rows = np.frombuffer(column.content, HASH_BYTES)[start:stop]
    return pa.array(rows["value"], mask=~rows["known"])


def _read_hashes(pa: Any, batch: Any) -> bytes:
    """Return the perceptual hashes of a batch, packed; where the file has no such column, none is known."""
    rows = np.zeros(len(batch), HASH_BYTES)
    if HASH in batch.schema.names:
        column = batch[HASH].cast(pa.uint64())
        rows["known"], rows["value"] = column.is_valid(), column.fill_null(0)
    return rows.tobytes()


def _read_batch(pa: Any, batch: Any, list_name: str, class_names: frozenset[str] | None, table: Table[Any]) -> None:
    paths = batch["path"].cast(pa.large_string()).to_pylist()
    texts = {name: batch[name].cast(pa.string()).dictionary_encode() for name in ("class_name", "split", "source")}
    found = {name: column.dictionary.to_pylist() for name, column in texts.items()}
    hashes = batch["sha256"].cast(pa.binary(32)).to_pylist()
    is_known = class_names is not None and class_names.issuperset(found["class_name"])
    if not (is_known and set(found["split"]) <= set(SPLITS) and all(map(_is_inside, paths))):
        values = {"path": paths, "sha256": [each.hex() for each in hashes]}
        values |= {name: column.to_pylist() for name, column in texts.items()}
        _refuse_wrong(list_name, len(table), values, class_names)
    columns: dict[str, Any] = table.columns
    columns["path"].extend(paths)
    columns["sha256"].content += b"".join(hashes)
    columns[HASH].content += _read_hashes(pa, batch)
    for name, column in texts.items():
        columns[name].extend_repeated(found[name], column.indices.to_numpy())


def _is_inside(path: str) -> bool:
    return bool(path.strip("./")) and leads_outside(path) is None


def _refuse_wrong(
    list_name: str, first: int, columns: Mapping[str, Sequence[str]], class_names: frozenset[str] | None
) -> None:
    """Say what is wrong with the first photograph that is; only one of no class may turn out to be right."""
    for place, values in enumerate(zip(*columns.values(), strict=True), first):
        for why in wrong_entry(dict(zip(columns, values, strict=True)), class_names):
            raise ValueError(f"{list_name}[{place}]{why}")


def _check_distinct(name: str, paths: Column[str]) -> None:
    first: dict[str, int] = {}
    for place in repeated(keys_of(paths)).tolist():
        if (other := first.setdefault(paths[place], place)) != place:
            raise ValueError(f"{name}[{place}].path is that of {name}[{other}] too: {paths[place]!a}")
