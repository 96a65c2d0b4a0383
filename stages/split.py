"""Hold out a test set and make folds, by groups of similar pairs that stay together.

in   data/clean/pairs.parquet             cleaned pairs
out  data/split/development.parquet       the same columns plus folds, one number per repeat; group is the number of the group
     data/split/test.parquet              read only by the evaluate stages
     data/split/test_digest.parquet       hashes that find overlaps with the test set in stages that must not read it
     data/split/removed.parquet           training pairs that overlap with the test set, with the reason and the test pair
     data/split/labels.json               the labels of every task whose targets are labels
     data/split/metrics.json              sizes and balance of test set and folds, how pairs were grouped, and by how much a
                                          naive split would inflate the score
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
from textmill.split.splitting import labels_of, split_corpus
from textmill.tasks.settings import TaskSettings, kinds_of
from textmill.tracking.runs import RunLog


def main(split: SplitSettings, tasks: dict[str, TaskSettings], seed: int, log: RunLog) -> None:
    pairs, kinds = read_table(paths.CLEAN), kinds_of(tasks)
    log.dataset(paths.CLEAN, "clean", len(pairs))
    result = split_corpus(pairs, split, seed, kinds)
    write_table(paths.DEVELOPMENT, result.development, DEVELOPMENT_SCHEMA)
    write_table(paths.TEST, result.test, PAIR_SCHEMA)
    write_table(paths.TEST_DIGEST, digest_of(result.test, split.overlap_units), DIGEST_SCHEMA)
    write_table(paths.REMOVED, result.removed, extended(PAIR_SCHEMA, {"reason": pa.string(), "test_id": pa.string()}))
    write_json(paths.LABELS, labels_of(result.development, kinds))
    metrics = result.metrics | {"leak": measure_leak(result, seed)}
    write_json(paths.SPLIT_METRICS, metrics)
    log.metrics(metrics)
    log.artifact(paths.REMOVED)


if __name__ == "__main__":
    run_stage(main)
