"""Cut off a test set and make folds, over groups of similar pairs that are never taken apart.

in   data/clean/pairs.parquet             cleaned pairs
out  data/split/development.parquet       the same columns and folds, one number a repeat; group is the number of the group
     data/split/test.parquet              read by the evaluate stages alone
     data/split/test_digest.parquet       hashes by which texts that know the test set are found where it may not be read
     data/split/removed.parquet           pairs that know the test set, with the reason and the test pair that they know
     data/split/metrics.json              sizes and balance of test set and folds, what was grouped by what, and the score
                                          that a naive split would have invented
"""

from __future__ import annotations

import pyarrow as pa

from textmill.base import paths
from textmill.base.files import write_json
from textmill.base.tables import DEVELOPMENT_SCHEMA, PAIR_SCHEMA, extended, read_table, write_table
from textmill.pipeline.runner import run_stage
from textmill.split.digests import DIGEST_SCHEMA, digest_of
from textmill.split.leak import measure_leak
from textmill.split.settings import SplitSettings
from textmill.split.splitting import split_corpus
from textmill.tracking.runs import RunLog


def main(split: SplitSettings, seed: int, log: RunLog) -> None:
    pairs = read_table(paths.CLEAN)
    log.dataset(paths.CLEAN, "clean", len(pairs))
    result = split_corpus(pairs, split, seed)
    write_table(paths.DEVELOPMENT, result.development, DEVELOPMENT_SCHEMA)
    write_table(paths.TEST, result.test, PAIR_SCHEMA)
    write_table(paths.TEST_DIGEST, digest_of(result.test, split.overlap_units), DIGEST_SCHEMA)
    write_table(paths.REMOVED, result.removed, extended(PAIR_SCHEMA, {"reason": pa.string(), "test_id": pa.string()}))
    metrics = result.metrics | {"leak": measure_leak(result, seed)}
    write_json(paths.SPLIT_METRICS, metrics)
    log.metrics(metrics)
    log.artifact(paths.REMOVED)


if __name__ == "__main__":
    run_stage(main)
