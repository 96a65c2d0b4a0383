"""Rows of a table in an order that does not depend on how they came: by origin, line and id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_BUCKET_ROWS = 1 << 17


def stable_ranks(path: Path) -> np.ndarray | None:
    """The place of every row of a table of pairs in the order of (origin, line, id), (N,) int64; None if they are in it already.

    Reads these three columns only: about 100 bytes a row while it sorts, 8 afterwards.
    """
    keys = pq.read_table(path, columns=["origin", "line", "id"], read_dictionary=["origin"])
    keys = keys.set_column(0, "origin", pc.cast(keys["origin"], pa.string()))
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in ("origin", "line", "id")]).to_numpy()
    places = np.arange(len(order))
    if np.array_equal(order, places):
        return None
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = places
    return ranks


def in_order(frames: Iterator[pd.DataFrame], ranks: np.ndarray | None, schema: pa.Schema, folder: Path) -> Iterator[pd.DataFrame]:
    """The rows of `frames`, which hold the columns of `schema`, in the order of their ranks.

    They go through files in `folder`, one a range of ranks, of which one at a time is sorted in memory.
    """
    if ranks is None:
        yield from frames
        return
    schema = schema.append(pa.field("rank", pa.int64()))
    paths = [folder / f"bucket-{number}.arrow" for number in range(-(-len(ranks) // _BUCKET_ROWS))]
    with ExitStack() as open_files:
        writers = [open_files.enter_context(pa.ipc.new_stream(str(path), schema)) for path in paths]
        start = 0
        for frame in frames:
            ranked = frame.assign(rank=ranks[start : start + len(frame)])
            start += len(frame)
            for number, part in ranked.groupby(ranked["rank"] // _BUCKET_ROWS, sort=True):
                arrays = [pa.array(part[field.name], type=field.type, from_pandas=True) for field in schema]
                writers[int(str(number))].write_table(pa.Table.from_arrays(arrays, schema=schema))
    for path in paths:
        with pa.ipc.open_stream(str(path)) as reader:
            part = reader.read_all().to_pandas()
        path.unlink()
        yield part.sort_values("rank", kind="stable").drop(columns="rank").reset_index(drop=True)
