"""Repair, filter and deduplicate the collected pairs.

in   data/collect/pairs.parquet      one row a pair: id, source, target, group, origin, line, ...
out  data/clean/pairs.parquet        rows that passed, repaired
     data/clean/rejected.parquet     every other row, as it came, with the reason it was rejected for
     data/clean/metrics.json         the funnel: rows in, repaired, rejected by reason, out; histograms of lengths
"""

from __future__ import annotations

import pyarrow as pa

from stages.runner import run_stage
from textmill import paths
from textmill.corpus.clean import clean_corpus
from textmill.files import write_json
from textmill.settings.corpus import CleanSettings, LanguageSettings
from textmill.tables import PAIR_SCHEMA, extended, read_table, write_table
from textmill.tracking import RunLog


def main(collect: LanguageSettings, clean: CleanSettings, log: RunLog) -> None:
    pairs = read_table(paths.COLLECTED)
    log.dataset(paths.COLLECTED, "collected", len(pairs))
    kept, rejected, metrics = clean_corpus(pairs, clean, collect)
    write_table(paths.CLEAN, kept, PAIR_SCHEMA)
    write_table(paths.REJECTED, rejected, extended(PAIR_SCHEMA, {"reason": pa.string()}))
    write_json(paths.CLEAN_METRICS, metrics)
    log.metrics(metrics)


if __name__ == "__main__":
    run_stage(main)
