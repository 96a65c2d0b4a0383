"""Parquet tables, with page checksums: without them a flipped bit is read as a wrong value and nobody notices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from textmill.errors import UserError
from textmill.files import replacing

# What every corpus table holds, in this order. `id` is unique; rows of one non-empty `group` must stay together;
# `origin` and `line` (counted from 1) say where the row came from; `task` is the name of its task in a mixture, or empty;
# `weight` is how often it is seen in an epoch; `official_split` is train or test where its source says so, else empty.
PAIR_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("target", pa.string()),
        ("group", pa.string()),
        ("origin", pa.string()),
        ("line", pa.int64()),
        ("task", pa.string()),
        ("weight", pa.float64()),
        ("official_split", pa.string()),
    ]
)


def extended(schema: pa.Schema, columns: Mapping[str, pa.DataType]) -> pa.Schema:
    """`schema` with more columns behind its own."""
    for name, kind in columns.items():
        schema = schema.append(pa.field(name, kind))
    return schema


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    """Write exactly the columns of `schema`, in its order, without pandas' own metadata."""
    arrays = [pa.array(frame[field.name], type=field.type, from_pandas=True) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that a stage wrote. Raises UserError if it is missing or damaged."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run `dvc repro` or `dvc checkout` to make it.") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path}: not a readable table ({reason}). Remove it and run `dvc checkout`.") from None
    frame: pd.DataFrame = table.to_pandas()
    return frame
