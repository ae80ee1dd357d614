"""A log as a Parquet file, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from flowercli.atomic import new_file
from flowercli.monitoring.log_file import read_all

if TYPE_CHECKING:
    from flowercli.monitoring.log_rows import Batch

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
        LogError: there is no such log, or it is damaged.
    """
    written = 0
    with new_file(target) as whole, pq.ParquetWriter(whole, SCHEMA, compression="zstd") as writer:
        for batch in read_all(log):
            table = _table(batch)
            writer.write_table(table)
            written += table.num_rows
    return written


def _table(batch: Batch) -> pa.Table:
    columns = batch.columns
    models = [batch.models[number] for number in columns["model"]]
    named = {
        "time": [round(time * 1e6) for time in columns["time"]],
        "model_identity": [model.identity for model in models],
        "model_name": [model.name for model in models],
        "graph": [model.graph for model in models],
        "class_name": [model.class_names[index] for model, index in zip(models, columns["class_index"], strict=True)],
        "rejected": list(map(bool, columns["rejected"])),
    }
    return pa.Table.from_pydict({**columns, **named}, SCHEMA)
