"""Read and write Parquet tables with page checksums. Without checksums, a flipped bit would silently be read as a wrong value."""

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

# Columns of every corpus table, in this order.
# id: unique. group: rows of one non-empty group must stay together. origin, line: where the row came from; lines count from 1.
# task: name of the task in a mixture, or empty. weight: how often the row is seen per epoch.
# official_split: train or test if the settings of the source name one, else empty.
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

# A row group ends with the row that reaches one of these limits.
_GROUP_ROWS, _GROUP_BYTES = 1 << 15, 64 << 20


def extended(schema: pa.Schema, columns: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return `schema` with more columns at the end."""
    for name, kind in columns.items():
        schema = schema.append(pa.field(name, kind))
    return schema


# Training data. folds: the fold of the pair in each repeat, or NO_FOLD in all of them (encode/encoded_corpus.py).
DEVELOPMENT_SCHEMA = extended(PAIR_SCHEMA, {"folds": pa.list_(pa.int16())})


class TableWriter:
    """Writes a table in bounded memory: `with TableWriter(path, schema) as writer: writer.write(frame)`.

    The file has exactly the columns of `schema`, in the same order, without the metadata of pandas.
    Its bytes depend on the rows only, not on how they were divided into `write` calls: rows are buffered into row groups of fixed size.
    The complete file appears when the block ends without an error.
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
        with self._open:  # on an error in here, `replacing` keeps the old file
            self._write_group()

    def write(self, frame: pd.DataFrame) -> None:
        """Append the rows of `frame`, which must have the columns of the schema; other columns are ignored."""
        batch = pa.RecordBatch.from_arrays([_column(frame, field) for field in self.schema], schema=self.schema)
        sizes = _text_bytes(batch)
        start = 0
        while start < len(batch):
            ends = np.cumsum(sizes[start : start + _GROUP_ROWS - self._waiting_rows])
            # The row that reaches the limit is the last one of its group.
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
            # One chunk, because Arrow also starts a new page at each chunk.
            table = pa.Table.from_batches(self._waiting, self.schema).combine_chunks()
            self._writer.write_table(table, row_group_size=_GROUP_ROWS)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    """Write a whole table, with the same bytes as TableWriter."""
    with TableWriter(path, schema) as writer:
        writer.write(frame)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that a stage wrote.

    Raises UserError if it is missing or damaged.
    """
    with _naming(path):
        frame: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    return frame


def read_batches(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """Yield a table that a stage wrote, in order, in frames of at most `rows` rows.

    The index of each frame starts at 0. An empty table yields nothing. About one row group is in memory at a time.
    Raises UserError if the file is missing or damaged.
    """
    with _naming(path), pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
        for batch in file.iter_batches(rows, use_threads=False):
            frame: pd.DataFrame = batch.to_pandas()
            yield frame


def num_rows(path: Path) -> int:
    """Return the number of rows of a table that a stage wrote, from its footer.

    Raises UserError if the file is missing or damaged.
    """
    with _naming(path), pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn errors of Arrow into a UserError that names the file."""
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
    """Return the UTF-8 bytes of every row, (N,) int64."""
    sizes = np.zeros(len(batch), dtype=np.int64)
    for column in batch.columns:
        if pa.types.is_string(column.type):
            sizes += pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return sizes
