"""Cut off a test set and make folds, over groups of similar sources that are never taken apart.

in   data/clean/pairs.parquet             cleaned pairs
out  data/split/development.parquet       the same columns and fold; group is the number of the component
     data/split/test.parquet              read by the evaluate stages alone
     data/split/metrics.json              sizes of test set and folds, number of groups, size of the largest
"""

from __future__ import annotations

import pyarrow as pa

from stages.runner import run_stage
from textmill import paths
from textmill.corpus.split import split_corpus
from textmill.files import write_json
from textmill.settings.corpus import SplitSettings
from textmill.tables import PAIR_SCHEMA, extended, read_table, write_table
from textmill.tracking import RunLog


def main(split: SplitSettings, seed: int, log: RunLog) -> None:
    pairs = read_table(paths.CLEAN)
    log.dataset(paths.CLEAN, "clean", len(pairs))
    development, test, metrics = split_corpus(pairs, split, seed)
    write_table(paths.DEVELOPMENT, development, extended(PAIR_SCHEMA, {"fold": pa.int16()}))
    write_table(paths.TEST, test, PAIR_SCHEMA)
    write_json(paths.SPLIT_METRICS, metrics)
    log.metrics(metrics)


if __name__ == "__main__":
    run_stage(main)
