from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base import tables
from textmill.base.errors import UserError
from textmill.base.tables import TableWriter, read_batches, read_table, write_table

SCHEMA = pa.schema([("id", pa.string()), ("line", pa.int64()), ("weight", pa.float64())])


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"row {number} é" for number in range(rows)], "line": range(rows), "weight": 0.5})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=12), st.integers(1, 20), st.integers(1, 300))
def test_the_bytes_do_not_depend_on_how_rows_were_cut_into_writes(folder: Path, cuts: list[int], rows: int, size: int) -> None:
    whole = frame(60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_GROUP_ROWS", rows)
        patch.setattr(tables, "_GROUP_BYTES", size)
        write_table(folder / "whole", whole, SCHEMA)
        ends = [0, *sorted(cuts), 60]
        with TableWriter(folder / "pieces", SCHEMA) as writer:
            for start, end in itertools.pairwise(ends):
                writer.write(whole[start:end])
        assert writer.rows == 60
    assert (folder / "whole").read_bytes() == (folder / "pieces").read_bytes()
    groups = pq.ParquetFile(folder / "whole").metadata
    assert max(groups.row_group(index).num_rows for index in range(groups.num_row_groups)) <= rows
    pd.testing.assert_frame_equal(read_table(folder / "pieces"), whole, check_dtype=False)


def test_batches_are_the_table_in_order(tmp_path: Path) -> None:
    write_table(tmp_path / "t", frame(25), SCHEMA)
    batches = list(read_batches(tmp_path / "t", 10))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert np.concatenate([batch["line"] for batch in batches]).tolist() == list(range(25))
    write_table(tmp_path / "empty", frame(0), SCHEMA)
    assert list(read_batches(tmp_path / "empty", 10)) == []
    assert list(read_table(tmp_path / "empty").columns) == SCHEMA.names


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    write_table(tmp_path / "t", frame(3), SCHEMA)
    with pytest.raises(KeyError), TableWriter(tmp_path / "t", SCHEMA) as writer:
        writer.write(frame(5))
        writer.write(pd.DataFrame({"id": ["x"]}))
    assert len(read_table(tmp_path / "t")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_a_missing_and_a_damaged_table_are_named(tmp_path: Path) -> None:
    write_table(tmp_path / "t", frame(500), SCHEMA)
    content = bytearray((tmp_path / "t").read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "t").write_bytes(content)
    for name, message in (("t", "t: not a readable table"), ("gone", "gone: no such file")):
        with pytest.raises(UserError, match=message):
            read_table(tmp_path / name)
        with pytest.raises(UserError, match=message):
            list(read_batches(tmp_path / name, 10))
