"""Parquet tables, with page checksums: without them a flipped bit is read as a wrong value and nobody notices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from textmill.base.errors import UserError
from textmill.base.files import replacing, require_ordinary

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

# A row group ends with the row that makes it this long or this large.
_GROUP_ROWS, _GROUP_BYTES = 1 << 15, 64 << 20


def extended(schema: pa.Schema, columns: Mapping[str, pa.DataType]) -> pa.Schema:
    """`schema` with more columns behind its own."""
    for name, kind in columns.items():
        schema = schema.append(pa.field(name, kind))
    return schema


# What is trained on: `folds` is the pair's fold in each repeat, or NO_FOLD in all of them (encode/encoded_corpus.py).
DEVELOPMENT_SCHEMA = extended(PAIR_SCHEMA, {"folds": pa.list_(pa.int16())})


class TableWriter:
    """Writes a table piece by piece, in bounded memory: `with TableWriter(path, schema) as writer: writer.write(frame)`.

    Exactly the columns of `schema`, in its order, without pandas' own metadata. The bytes are a function of the rows alone,
    however they were cut into `write` calls: rows wait until a row group of a fixed size is full. The file appears, as a
    whole, when the block ends without an error.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0

    def __enter__(self) -> TableWriter:
        with ExitStack() as opening:
            temporary = opening.enter_context(replacing(self.path))
            self._writer = opening.enter_context(pq.ParquetWriter(temporary, self.schema, compression="zstd", write_page_checksum=True))
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:  # an error in here reaches `replacing`, which then keeps the earlier file
            self._write_group()

    def write(self, frame: pd.DataFrame) -> None:
        """Append the rows of `frame`, which holds at least the columns of the schema."""
        batch = pa.RecordBatch.from_arrays([_column(frame, field) for field in self.schema], schema=self.schema)
        sizes = _text_bytes(batch)
        start = 0
        while start < len(batch):
            ends = np.cumsum(sizes[start : start + _GROUP_ROWS - self._waiting_rows])
            # The row that fills the group up to the limit is the last one in it.
            count = min(int(np.searchsorted(ends, _GROUP_BYTES - self._waiting_bytes)) + 1, len(ends))
            self._waiting.append(batch.slice(start, count))
            self._waiting_rows += count
            self._waiting_bytes += int(ends[count - 1])
            start += count
            if self._waiting_rows >= _GROUP_ROWS or self._waiting_bytes >= _GROUP_BYTES:
                self._write_group()
        self.rows += len(batch)

    def _write_group(self) -> None:
        if self._waiting:
            # One chunk: Arrow cuts pages by chunks too.
            table = pa.Table.from_batches(self._waiting, self.schema).combine_chunks()
            self._writer.write_table(table, row_group_size=_GROUP_ROWS)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    """Write a whole table; the same bytes as by TableWriter."""
    with TableWriter(path, schema) as writer:
        writer.write(frame)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that a stage wrote. Raises UserError if it is missing or damaged."""
    with _naming(path):
        frame: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    return frame


def read_batches(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """A table that a stage wrote, in order, in frames of at most `rows` rows, each with its index from 0; none if it is empty.

    Holds about one row group in memory. Raises UserError if the file is missing or damaged.
    """
    with _naming(path), pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
        for batch in file.iter_batches(rows, use_threads=False):
            frame: pd.DataFrame = batch.to_pandas()
            yield frame


def num_rows(path: Path) -> int:
    """Rows of a table that a stage wrote, by its footer. Raises UserError if the file is missing or damaged."""
    with _naming(path), pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of Arrow, as one line with the file."""
    require_ordinary(path)
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run `dvc repro` or `dvc checkout` to make it.") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path}: not a readable table ({reason}). Remove it and run `dvc checkout`.") from None


def _column(frame: pd.DataFrame, field: pa.Field) -> pa.Array:
    column = pa.array(frame[field.name], type=field.type, from_pandas=True)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _text_bytes(batch: pa.RecordBatch) -> np.ndarray:
    """UTF-8 bytes of every row, (N,) int64."""
    sizes = np.zeros(len(batch), dtype=np.int64)
    for column in batch.columns:
        if pa.types.is_string(column.type):
            sizes += pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return sizes
