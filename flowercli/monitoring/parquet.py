"""A log as a Parquet file, for other programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from flowercli.atomic import new_file
from flowercli.monitoring.log_file import open_to_read

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000
QUERY = (
    "SELECT time, request, identity, name, graph, class_index, class_names, confidence, known, rejected, width, height,"
    " brightness FROM answers JOIN models ON models.id = answers.model ORDER BY answers.id"
)
SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("request", pa.string()),
        ("model_identity", pa.string()),
        ("model_name", pa.string()),
        ("graph", pa.string()),
        ("class_index", pa.int32()),
        ("class_name", pa.string()),
        ("confidence", pa.float64()),
        ("known", pa.float64()),
        ("rejected", pa.bool_()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("brightness", pa.float64()),
    ]
)


def write_parquet(log: Path, target: Path) -> int:
    """Write all answers of a log, of every model, into a Parquet file, and return their number.

    Raises:
        LogError: there is no such log.
    """
    written = 0
    with (
        new_file(target) as whole,
        open_to_read(log) as connection,
        pq.ParquetWriter(whole, SCHEMA, compression="zstd") as writer,
    ):
        cursor = connection.execute(QUERY)
        while rows := cursor.fetchmany(ROWS):
            writer.write_table(pa.Table.from_pylist([_named(row) for row in rows], SCHEMA))
            written += len(rows)
    return written


def _named(row: tuple[Any, ...]) -> dict[str, Any]:
    time, request, identity, name, graph, index, names, confidence, known, rejected, *picture = row
    about = (round(time * 1e6), request, identity, name, graph, index, json.loads(names)[index])
    values = (*about, confidence, known, bool(rejected), *picture)
    return dict(zip(SCHEMA.names, values, strict=True))
