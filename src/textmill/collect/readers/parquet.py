"""Read Parquet tables, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textmill.base.errors import UserError
from textmill.collect.readers.columns import named_row, require_columns
from textmill.collect.readers.files import require_proportion, shown
from textmill.collect.readers.row import Bad, Found, Reading

_BATCH_ROWS = 128


def read_parquet(reading: Reading) -> Iterator[Found]:
    """Yield the rows of a table; the line is the number of the row.

    Raises UserError if the file is not readable, or if its decompressed size is implausible for text.
    """
    path, name = reading.file.path, reading.file.name
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False, buffer_size=1 << 20) as file:
            require_columns(reading, name, file.schema_arrow.names)
            source = reading.source
            columns = [source.source_column, source.target_column, *([source.group_column] if source.group_column else [])]
            size = path.stat().st_size
            # Dictionary encoding can expand a few hundred bytes to gigabytes. The metadata give only the size of the pages, so the rows
            # are measured too.
            require_proportion(name, _declared_bytes(file.metadata), size)
            number, unpacked = 0, 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                for values in _rows(batch):
                    number += 1
                    unpacked += sum(len(text) for text in (values or {}).values() if isinstance(text, str))
                    require_proportion(name, unpacked, size)
                    problem = "holds bytes that are not UTF-8. Write the table with text columns."
                    yield named_row(reading, number, values) if values is not None else Bad(number, "not_utf8", problem)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file. Correct collect.sources in params.yaml, or put the file there.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: in the name of a column
        raise UserError(f"{name}: not a readable Parquet file ({shown(str(error).split(chr(10))[0])}). Download it again.") from None


def _declared_bytes(metadata: Any) -> int:
    # Do not call `column(index)` of a row group: if the statistics of a column are damaged, pyarrow 25 aborts the whole process.
    return max((metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)), default=0)


def _rows(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Yield the values of each row by column, or None for a row that is not UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(len(batch)):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None
