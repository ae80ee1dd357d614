"""Answers as one Parquet file, and the parts that are to become one: how `flowers classify --output` keeps them."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from flowercli.atomic import new_file
from flowercli.batch.part import SCHEMA, to_table
from flowercli.batch.plan import DAMAGED_HINT, as_text
from flowercli.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from flowercli.inference.pipeline import Result

# Of a file: as many as a few parts have, so that its readers find large pieces and its writer holds little.
ROWS_IN_GROUP = 20_000
# Under this name the metadata of a file have, as JSON, what decided the answers.
SETTINGS = b"flowers"


def table_of(results: Sequence[Result]) -> pa.Table:
    """Return a row for each result, in order."""
    return to_table([as_text(result.path) for result in results], [result.outcome for result in results])


def tables_of(results: Iterable[Result]) -> Iterator[pa.Table]:
    """Yield the same, so many rows at a time, of as many results as there may be."""
    left = iter(results)
    while some := list(islice(left, ROWS_IN_GROUP)):
        yield table_of(some)


def write_file(file: Path, tables: Iterable[pa.Table], settings: Mapping[str, Any]) -> None:
    """Write tables of answers as one file, which takes the place of what is there when it is whole.

    Args:
        file: where to.
        tables: of :data:`flowercli.batch.part.SCHEMA`; a few of them are held at a time.
        settings: what decided the answers, which :func:`settings_of` gives back.

    Raises:
        OSError: it cannot be written.
    """
    schema = SCHEMA.with_metadata({SETTINGS: json.dumps(settings).encode()})
    with new_file(file) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        held: list[pa.Table] = []
        for table in tables:
            held.append(table)
            if sum(map(len, held)) >= ROWS_IN_GROUP:
                writer.write_table(pa.concat_tables(held).cast(schema))
                held = []
        if held:
            writer.write_table(pa.concat_tables(held).cast(schema))


def settings_of(file: Path) -> dict[str, Any]:
    """Return what decided the answers of a file that :func:`write_file` wrote.

    Raises:
        BatchError: it is damaged, or was written by something else.
    """
    with _opened(file) as content:
        metadata = content.schema_arrow.metadata or {}
    if SETTINGS not in metadata:
        raise BatchError(f"{file} has no answers of this program.")
    return dict(json.loads(metadata[SETTINGS]))


def tables_in(file: Path) -> Iterator[pa.Table]:
    """Yield a file's groups of rows.

    Raises:
        BatchError: it is damaged.
    """
    with _opened(file) as content:
        for number in range(content.num_row_groups):
            yield content.read_row_group(number)


def paths_in(file: Path) -> Iterator[str]:
    """Yield the paths that a file has answers about.

    Raises:
        BatchError: it is damaged.
    """
    with _opened(file) as content:
        try:
            for rows in content.iter_batches(columns=["path"]):
                yield from rows.column(0).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise BatchError(f"{file} is damaged.", hint=DAMAGED_HINT) from error


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise BatchError(f"{file} is no Parquet file.", hint="Give another --output.") from error
